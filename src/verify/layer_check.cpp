#include "quantized/decode.h"
#include "verify/checked_layer.h"

namespace ctq::verify {
namespace {

using client::Program;
using quantized::Dialect;
using safetensors::Dtype;
using Entry = model::Checkpoint::Entry;

class LayerCheck : private CheckedLayer {
 public:
  explicit LayerCheck(const CheckedLayer& layer) : CheckedLayer(layer) {}

  void run(bool beside_marked) {
    if (layer_.dialect == Dialect::kRaw) {
      if (beside_marked)
        remark("FP8 without a scale or a marker beside marked layers: read as plain numbers");
      return;
    }
    if (is_foreign(layer_.dialect)) return check_foreign();
    if (!layer_.marker_fault.empty()) return refuse("{}", layer_.marker_fault);
    if (layer_.marker_differs)
      remark("the header's marker and comfy_quant differ; ComfyUI follows the header");
    if (const Entry* marker = layer_.side("comfy_quant");
        marker && (marker->info->dtype != Dtype::kU8 || marker->info->shape.size() != 1))
      remark("comfy_quant is {} {}: ComfyUI looks at its bytes only, other programs at type and shape",
             dtype_of(*marker), shape_of(*marker));
    if (layer_.dialect == Dialect::kHeader)
      remark("only in the header: older ComfyUI and other programs need the tensor comfy_quant");
    if (!layer_.weight) return refuse("the file has no such weight");
    check_module();
    switch (layer_.dialect) {
      case Dialect::kLogScales: return check_log_scales();
      case Dialect::kScaledFp8: return check_scaled_fp8();
      case Dialect::kUnmarked: check_unmarked(); break;
      default: break;
    }
    if (const FormatRule* rule = named_format()) check_format(*this, *rule);
  }

 private:
  /// Whether the layer is one of which the client reads codes, and the model one that it still recognises.
  void check_module() {
    if (shape_.size() == 3 && !layer_.has_codes()) return;
    const client::Obstacle obstacle =
        loader_.reads(layer_.name, shape_, layer_.format, client::Scales::kOther, layer_.rotation_group());
    if (obstacle != client::Obstacle::kNone && obstacle != client::Obstacle::kFormat)
      refuse("{}", loader_.why(layer_.name, obstacle));
  }

  void check_foreign() {
    if (!layer_.fault.empty()) refuse("{}: {}", layer_.dialect_label(), layer_.fault);
    if (loader_.client().program != Program::kAny)
      refuse("{}: ComfyUI does not read what its codes stand for", layer_.dialect_label());
  }

  void check_log_scales() {
    const Entry* scale = layer_.side("scale_weight");
    if (scale && (scale->info->dtype != Dtype::kU8 || scale->info->bytes() != 1))
      refuse("scale_weight is {} {}, not one U8 code", dtype_of(*scale), shape_of(*scale));
  }

  void check_unmarked() {
    const std::string role = layer_.side("scale_weight") ? "scale_weight" : "weight_scale";
    if (layer_.format.empty()) {
      refuse("{} {} covers no even part of the weight {}", role, shape_of(*layer_.scale()),
             shape_of(*layer_.weight));
    } else if (stock()) {
      refuse("{} without comfy_quant or scaled_fp8: ComfyUI ignores the scale", role);
    } else {
      remark("a scale without a marker: only QuantOps guesses what it means");
    }
  }

  void check_scaled_fp8() {
    const Dtype dtype = layer_.weight->info->dtype;
    const size_t rank = layer_.weight->info->shape.size();
    if (dtype == Dtype::kF8E5M2) {
      remark("scaled_fp8 is always read as e4m3fn: the e5m2 codes are cast, and those above 448 become NaN");
    } else if (dtype != Dtype::kF8E4M3 && rank == 2) {
      remark(
          "scale_weight beside a kept {} weight: ComfyUI casts the weight to FP8, and multiplies it by the "
          "scale",
          dtype_of(*layer_.weight));
    }
    if (rank != 2) remark("a {}-D weight with scale_weight, which its module ignores", rank);
    for (const std::string_view role : {"scale_weight", "scale_input"}) {
      const Entry* scale = layer_.side(role);
      if (!scale) continue;
      // A scale per row is a product like another, but not one that ComfyUI forms.
      const bool of_rows =
          role == "scale_weight" && rank == 2 && scale->info->numel() == layer_.weight->info->shape[0];
      if (scale->info->numel() != 1 && (stock() || !of_rows))
        refuse("{} has {} elements instead of one", role, scale->info->numel());
      if (!safetensors::is_float(scale->info->dtype))
        refuse("{} is {}: ComfyUI uses the number as it stands", role, dtype_of(*scale));
    }
    const Entry *scale = layer_.side("scale_weight"), *input = layer_.side("scale_input");
    if (scale && input && quantized::text_of(*scale) == quantized::text_of(*input))
      remark("scale_input is a copy of scale_weight: as an activation scale it would saturate");
  }

  /// The rule of the layer's format, or null with a finding that says why there is none to check.
  const FormatRule* named_format() {
    if (layer_.format.empty()) {
      if (layer_.dialect == Dialect::kUnmarked) return nullptr;
      const bool int8 = layer_.weight->info->dtype == Dtype::kI8 && layer_.side("weight_scale");
      if (stock() || !int8) {
        refuse("the marker has no \"format\": ComfyUI knows no such quantization");
        return nullptr;
      }
      remark("the marker has no \"format\", as INT8-Fast writes it; stock ComfyUI refuses it");
      return find_format_rule("int8_tensorwise");
    }
    const FormatRule* rule = find_format_rule(layer_.format);
    if (!rule) {
      refuse("format '{}' is not known to any program", printable(layer_.format));
    } else if (stock() && layer_.dialect != Dialect::kUnmarked) {
      if (const std::string why = client::format_obstacle(loader_.client(), layer_.format); !why.empty())
        refuse("format {}: KeyError: {}", layer_.format, why);
    }
    return rule;
  }
};

}  // namespace

void check_layer(const CheckedLayer& layer, bool beside_marked) { LayerCheck(layer).run(beside_marked); }

}  // namespace ctq::verify
