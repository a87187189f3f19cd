#include <algorithm>
#include <cctype>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/text.h"
#include "client/loader.h"
#include "families/parts.h"
#include "format_rules.h"
#include "model/file_kind.h"
#include "model/layer_names.h"
#include "quantized/decode.h"
#include "quantized/scale_tiles.h"
#include "stable_diffusion_cpp.h"
#include "verify/client.h"

namespace ctq::verify {
namespace {

using client::Program;
using quantized::Dialect;
using quantized::Layer;
using quantized::QuantizedFile;
using safetensors::Dtype;
using Entry = model::Checkpoint::Entry;

std::string_view dtype_of(const Entry& entry) { return safetensors::dtype_name(entry.info->dtype); }
std::string shape_of(const Entry& entry) { return shape_text(entry.info->shape); }

std::string shapes_text(const std::vector<Shape>& shapes) {
  std::vector<std::string> texts;
  for (const Shape& shape : shapes) texts.push_back(shape_text(shape));
  return fmt::format("{}", fmt::join(texts, " or "));
}

/// Whether `name` holds `stem` followed by a number and a dot.
bool has_numbered(std::string_view name, std::string_view stem) {
  for (size_t at = name.find(stem); at != std::string_view::npos; at = name.find(stem, at + 1)) {
    size_t digit = at + stem.size();
    const size_t first = digit;
    while (digit < name.size() && std::isdigit(static_cast<unsigned char>(name[digit]))) ++digit;
    if (digit > first && digit < name.size() && name[digit] == '.') return true;
  }
  return false;
}

/// The rules for one layer of ComfyUI, with or without custom nodes, and of nobody in particular.
class LayerCheck {
 public:
  LayerCheck(const Layer& layer, const client::Loader& loader, std::vector<int64_t> shape, bool beside_marked,
             std::vector<Finding>& findings)
      : layer_(layer),
        loader_(loader),
        shape_(std::move(shape)),
        beside_marked_(beside_marked),
        findings_(findings) {}

  void run() {
    if (layer_.dialect == Dialect::kRaw) {
      if (beside_marked_)
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
    if (const FormatRule* rule = named_format()) check_format(*rule);
  }

 private:
  template <typename... Args>
  void refuse(fmt::format_string<Args...> text, Args&&... args) {
    findings_.push_back({layer_.name, fmt::format(text, std::forward<Args>(args)...), true});
  }
  template <typename... Args>
  void remark(fmt::format_string<Args...> text, Args&&... args) {
    findings_.push_back({layer_.name, fmt::format(text, std::forward<Args>(args)...), false});
  }

  bool stock() const { return loader_.client().program == Program::kComfyUi; }

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

  void check_format(const FormatRule& rule) {
    const bool quip = layer_.is_quip();
    if (quip && stock() && !client::implied_by(rule.format))
      refuse("transformed by QuIP under the stock name {}: ComfyUI does not undo it", rule.format);
    check_input_factors(rule);
    if (is_bank()) {
      check_experts();
    } else if (shape_.size() != 2) {
      findings_.push_back(
          {layer_.name,
           fmt::format("{}-D: only linear layers, expert banks and embeddings read a marker", shape_.size()),
           stock()});
      return;
    }
    check_code_type(rule);
    Dims dims{shape_.end()[-2], shape_.back(), 0};
    if (rule.usual_group > 0 && !read_group(rule, dims)) return;
    if (quip) check_quip(dims);
    const std::vector<Shape> stored = with_experts(rule.stored(dims));
    if (std::ranges::count(stored, layer_.weight->info->shape) == 0)
      refuse("the weight is {}, a layer of {} needs {}", shape_of(*layer_.weight), shape_text(shape_),
             shapes_text(stored));
    for (const SideRule& side : side_rules(rule.format)) {
      if (is_bank() && (side.role == "input_scale" || side.role == "pre_quant_scale"))
        check_unread(side.role);
      else
        check_side(side, dims);
    }
    check_rotation(rule, dims);
    check_leftovers(rule);
  }

  bool is_bank() const { return shape_.size() == 3; }

  /// What belongs to the layer's input, of which ComfyUI's banks know nothing.
  void check_unread(std::string_view role) {
    if (layer_.side(role))
      findings_.push_back({layer_.name, fmt::format("{} is not read in a bank of experts", role),
                           /*refused=*/role == "pre_quant_scale"});
  }

  void check_experts() {
    if (!loader_.parts().of(layer_.name).family)
      remark("3-D: read only where the model holds a bank of experts");
    const auto said = layer_.marker.integer("num_experts", shape_[0]);
    if (said != shape_[0]) remark("num_experts is not {}, the experts of the weight", shape_[0]);
  }

  /// Of one expert's tensor those of the whole bank: a single number may stand for all experts.
  std::vector<Shape> with_experts(std::vector<Shape> shapes) const {
    if (!is_bank()) return shapes;
    std::vector<Shape> banks;
    for (Shape& shape : shapes) {
      if (shape.empty()) banks.emplace_back();
      if (shape == Shape{1} && shapes.size() > 1) continue;
      shape.insert(shape.begin(), shape_[0]);
      banks.push_back(std::move(shape));
    }
    return banks;
  }

  /// ComfyUI casts codes of another type as numbers.
  void check_code_type(const FormatRule& rule) {
    const Dtype stored = layer_.weight->info->dtype;
    if (stored == rule.codes) return;
    const auto bytes = [](Dtype dtype) { return dtype == Dtype::kI8 || dtype == Dtype::kU8; };
    const std::string fact = fmt::format("the weight is {}, {} stores {}", dtype_of(*layer_.weight),
                                         rule.format, safetensors::dtype_name(rule.codes));
    if (bytes(stored) && bytes(rule.codes)) {
      remark("{}: the same bits for ComfyUI; other programs look at the type", fact);
    } else if (stored == Dtype::kF8E5M2 && rule.codes == Dtype::kF8E4M3) {
      remark("{}: it is cast, and codes above 448 become NaN", fact);
    } else {
      refuse("{}: it is converted as a number, not as bits", fact);
    }
  }

  bool read_group(const FormatRule& rule, Dims& dims) {
    const auto group = layer_.marker.integer("group_size", rule.usual_group);
    if (!layer_.marker.is_number("group_size"))
      remark("group_size is text: ComfyUI takes it for the number, other programs need not");
    if (!group || *group < 1 || dims.k % *group != 0) {
      refuse("group_size {} does not divide in_features {}",
             group ? std::to_string(*group) : "that is no integer", dims.k);
      return false;
    }
    dims.group = *group;
    return true;
  }

  void check_quip(Dims& dims) {
    const Dims padded{next_power_of_two(dims.n), next_power_of_two(dims.k), 0};
    if (padded.n != dims.n || padded.k != dims.k)
      remark("{}x{} is padded to {}x{}; the node never crops and cannot run this layer", dims.n, dims.k,
             padded.n, padded.k);
    dims = padded;
    for (const auto& [role, size] : {std::pair("sign_row", dims.n), std::pair("sign_col", dims.k)}) {
      const Entry* sign = layer_.side(role);
      if (!sign) {
        refuse("{} is missing", role);
      } else if (sign->info->shape != Shape{size}) {
        refuse("{} is {}, not [{}]", role, shape_of(*sign), size);
      }
    }
    for (const char* role : {"hadamard_size_out", "hadamard_size_in"})
      if (!layer_.side(role)) refuse("{} is missing", role);
  }

  /// Whether scales of that shape divide every weight into tiles.
  bool covers(Shape scales, const Dims& dims) const {
    if (is_bank() && !scales.empty()) {
      if (scales.front() != shape_[0]) return false;
      scales.erase(scales.begin());
    }
    return quantized::tiles_of_scale(scales, dims.n, dims.k).has_value();
  }

  const Entry* side_of(std::string_view role) const {
    return role == "weight_scale" && layer_.dialect == Dialect::kUnmarked ? layer_.scale()
                                                                          : layer_.side(role);
  }

  void check_side(const SideRule& rule, const Dims& dims) {
    const Entry* side = side_of(rule.role);
    if (!side) {
      if (rule.required) refuse("{} is missing", rule.role);
      return;
    }
    if (rule.format == "float8_e4m3fn" && side->info->shape.size() == 3 && !is_bank() && !stock()) {
      remark("scales per row and run of columns under the name float8_e4m3fn");
      return;
    }
    if (rule.format == "int8_tensorwise" && side->info->shape == Shape{dims.n} && dims.n != 1 && !is_bank()) {
      refuse("{} [{}] would be spread along the columns; rows need [{}, 1]", rule.role, dims.n, dims.n);
    } else if (rule.shapes) {
      check_side_shape(rule, *side, with_experts(rule.shapes(dims)));
    } else if (!covers(side->info->shape, dims)) {
      refuse("{} {} covers no even part of {}", rule.role, shape_of(*side), shape_text(shape_));
    }
    if (is_of(side->info->dtype, rule.types)) return;
    if (side->info->dtype == Dtype::kF8E8M0 && rule.types == Types::kU8) return;  // said of the tensor itself
    const bool only_wider = rule.types == Types::kF32 && safetensors::is_float(side->info->dtype);
    findings_.push_back({layer_.name,
                         fmt::format("{} is {}, not {}", rule.role, dtype_of(*side), types_text(rule.types)),
                         !only_wider});
  }

  void check_side_shape(const SideRule& rule, const Entry& side, const std::vector<Shape>& shapes) {
    if (std::ranges::count(shapes, side.info->shape) > 0) return;
    if (side.info->numel() == 1 && std::ranges::count(shapes, Shape{}) > 0 && !is_bank()) {
      remark("{} is {}: one element, but of another shape than programs write", rule.role, shape_of(side));
    } else if (rule.role == "input_scale") {
      remark("input_scale is {}: a GPU that multiplies in this format fails on it; elsewhere it is not used",
             shape_of(side));
    } else {
      refuse("{} is {}, not {}", rule.role, shape_of(side), shapes_text(shapes));
    }
  }

  void check_rotation(const FormatRule& rule, const Dims& dims) {
    const bool packed = rule.format == "convrot_w4a4";
    if (!packed && !(layer_.marker.flag("convrot") && rule.codes == Dtype::kI8 && rule.usual_group == 0))
      return;
    const auto group = layer_.marker.integer("convrot_groupsize", 256);
    if (!group) return refuse("convrot_groupsize is not an integer");
    if (!layer_.marker.is_number("convrot_groupsize"))
      remark("convrot_groupsize is text: ComfyUI takes it for the number, other programs need not");
    if (packed) {
      if (dims.k % 64 != 0 || *group < 1 || dims.k % *group != 0)
        refuse("in_features {} is not a multiple of 64 and of convrot_groupsize {}", dims.k, *group);
      const auto type = layer_.marker.word("linear_dtype", "int4");
      if (type != "int4" && type != "int8") refuse("linear_dtype must be int4 or int8");
      return;
    }
    if (!is_power_of_four(*group)) {
      refuse("convrot_groupsize {} is not a power of 4", *group);
    } else if (dims.k % *group != 0) {
      refuse("convrot_groupsize {} does not divide in_features {}", *group, dims.k);
    }
    if (!layer_.marker.has("convrot_groupsize"))
      remark("convrot without convrot_groupsize: ComfyUI takes 256, stable-diffusion.cpp refuses");
    const Entry* scale = layer_.scale();
    if (scale && scale->info->numel() == 1 && dims.n > 1)
      remark("rotated with one scale for the whole weight");
  }

  /// Where they are not read, the weight is another one.
  void check_input_factors(const FormatRule& rule) {
    if (!layer_.side("pre_quant_scale")) return;
    const std::string why = client::input_factor_obstacle(loader_.client(), rule.format);
    if (!why.empty()) return refuse("{}: its input would not be multiplied", why);
    if (shape_.size() == 3) refuse("pre_quant_scale is not read for banks of experts");
  }

  void check_leftovers(const FormatRule& rule) {
    if (layer_.side("weight_correction"))
      refuse("weight_correction is not read: its zero points would be lost");
    constexpr std::string_view kWithInputScale[] = {"float8_e4m3fn", "float8_e5m2", "nvfp4", "mxfp8"};
    if (layer_.side("input_scale") && std::ranges::count(kWithInputScale, rule.format) == 0)
      remark("input_scale is not read for {}", rule.format);
    if (!layer_.marker.is_boolean("full_precision_matrix_mult"))
      remark("full_precision_matrix_mult is not a boolean");
  }

  const Layer& layer_;
  const client::Loader& loader_;
  std::vector<int64_t> shape_;
  bool beside_marked_;  // the file has layers with markers
  std::vector<Finding>& findings_;
};

/// Element types that the file reader of ComfyUI knows which it uses with dynamic memory, the default on
/// NVIDIA cards. Elsewhere it has the reader of safetensors, which knows all but those of 4 and 6 bits.
bool comfyui_reads(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF8E8M0:
    case Dtype::kF8E4M3FNUZ:
    case Dtype::kF8E5M2FNUZ:
    case Dtype::kF6E2M3:
    case Dtype::kF6E3M2:
    case Dtype::kF4: return false;
    default: return true;
  }
}

/// q, k and v of CLIP apart under OpenCLIP's names, which ComfyUI does not map.
bool is_unmapped_clip_projection(std::string_view name) {
  if (!has_numbered(name, "transformer.resblocks.")) return false;
  return std::ranges::any_of(
      std::vector<std::string_view>{".attn.q_proj.", ".attn.k_proj.", ".attn.v_proj."},
      [&](std::string_view part) { return name.find(part) != std::string_view::npos; });
}

void check_other_tensors(const QuantizedFile& file, Program client, std::vector<Finding>& findings) {
  for (const std::string& stray : file.strays) findings.push_back({stray, "belongs to no quantized layer"});
  for (const Entry& entry : file.checkpoint->entries()) {
    const bool stock = client == Program::kComfyUi;
    if (client != Program::kAny && !comfyui_reads(entry.info->dtype)) {
      findings.push_back({entry.name(),
                          fmt::format("{}: KeyError in ComfyUI's file reader where it uses dynamic memory{}",
                                      dtype_of(entry),
                                      entry.info->dtype == Dtype::kF8E8M0 ? "; E8M0 scales go into U8" : ""),
                          stock && safetensors::dtype_bits(entry.info->dtype) < 8});
    }
    if (stock && is_unmapped_clip_projection(entry.name()))
      findings.push_back({entry.name(),
                          "ComfyUI maps no split q, k and v under transformer.resblocks; "
                          "text_model.encoder.layers.*.self_attn.{q,k,v}_proj are read"});
    const bool codes = entry.info->dtype == Dtype::kI8 || entry.info->dtype == Dtype::kU8;
    if (codes && entry.is_matrix() && !file.of_weight(entry))
      findings.push_back(
          {entry.name(),
           fmt::format("a {} weight without marker: it is loaded as plain numbers", dtype_of(entry))});
  }
}

/// Whether a layer is in a text encoder inside a checkpoint, to which the token of the whole file does not
/// reach.
bool lacks_token(const QuantizedFile& file, const Layer& layer) {
  const std::string_view prefix = model::checkpoint_prefix(layer.name);
  if (layer.dialect != Dialect::kScaledFp8 || prefix == model::model_prefix(layer.name)) return false;
  return std::ranges::none_of(file.scaled_fp8, [&](const std::string& token) {
    const std::string_view covered = model::without_suffix(token, "scaled_fp8");
    return !covered.empty() && layer.name.starts_with(covered);
  });
}

void check_file(const QuantizedFile& file, Program client, std::vector<Finding>& findings) {
  if (!file.header_fault.empty()) findings.push_back({"", file.header_fault});
  if (file.has_header_map && !file.scaled_fp8.empty())
    findings.push_back(
        {"", "both _quantization_metadata and scaled_fp8: ComfyUI then skips the legacy scales"});
  if (file.log_scales && client != Program::kAny)
    findings.push_back(
        {"", "one-byte logarithmic scales: no ComfyUI loader decodes them; it uses the code as the scale"});
  const auto prefixed = [](const Layer& layer) { return !model::model_prefix(layer.name).empty(); };
  if (file.has_header_map && std::ranges::any_of(file.layers, prefixed))
    findings.push_back(
        {"",
         "_quantization_metadata names layers with the prefix of their model: ComfyUI's Load Diffusion "
         "Model logs each as unexpected",
         false});
  const bool legacy = std::ranges::any_of(
      file.layers, [](const Layer& layer) { return layer.dialect == Dialect::kScaledFp8; });
  if (!legacy) return;
  const auto uncovered = std::ranges::find_if(
      file.layers, [&](const Layer& layer) { return client != Program::kAny && lacks_token(file, layer); });
  if (uncovered != file.layers.end())
    findings.push_back(
        {uncovered->name, fmt::format("no token {}scaled_fp8: ComfyUI ignores the scales of that encoder",
                                      model::checkpoint_prefix(uncovered->name))});
  for (const std::string& name : file.scaled_fp8) {
    const Entry& token = *file.checkpoint->find(name);
    if (token.info->numel() > 2)
      findings.push_back(
          {name, fmt::format("{} elements; 0 or 1 mean fp8 products, 2 full precision", token.info->numel()),
           false});
  }
}

/// Adapters are added to weights by their values; only nodes of their own read scales there.
void check_adapter(const QuantizedFile& file, Program client, std::vector<Finding>& findings) {
  const bool coded = std::ranges::any_of(
      file.layers, [](const Layer& layer) { return layer.dialect != Dialect::kRaw && layer.has_codes(); });
  if (client == Program::kAny || !coded || model::kind_of(*file.checkpoint) != model::FileKind::kAdapter)
    return;
  findings.push_back({"", "an adapter (LoRA) with scales: ComfyUI's loader of adapters does not read them",
                      client == Program::kComfyUi});
}

}  // namespace

std::vector<Finding> check_structure(const QuantizedFile& file, const client::Client& client,
                                     const QuantizedFile* original) {
  if (client.program == Program::kStableDiffusionCpp) return check_stable_diffusion_cpp(file);
  const families::Parts parts(file.checkpoint->names(), [&](std::string_view tensor) {
    return file.checkpoint->find(tensor)->info->shape;
  });
  const client::Loader loader(client, parts);
  std::vector<Finding> findings;
  const bool marked = std::ranges::any_of(file.layers, [](const Layer& layer) {
    return layer.dialect == Dialect::kMarker || layer.dialect == Dialect::kHeader;
  });
  for (const Layer& layer : file.layers) {
    std::vector<int64_t> shape = layer.shape();
    if (original && layer.weight) {
      if (const Entry* entry = quantized::weight_named(*original, layer.plain_name()))
        shape = quantized::shape_of(*original, *entry);
      const std::vector<int64_t> said = layer.marker.original_shape();
      if (!said.empty() && said != shape)
        findings.push_back(
            {layer.name,
             fmt::format("orig_shape is {}, the original has {}", shape_text(said), shape_text(shape)),
             false});
    }
    LayerCheck(layer, loader, std::move(shape), marked, findings).run();
  }
  check_other_tensors(file, client.program, findings);
  check_file(file, client.program, findings);
  check_adapter(file, client.program, findings);
  return findings;
}

bool is_refused(const std::vector<Finding>& findings) {
  return std::ranges::any_of(findings, &Finding::refused);
}

}  // namespace ctq::verify
