#include "stable_diffusion_cpp.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "format_rules.h"

namespace ctq::verify {
namespace {

using quantized::Dialect;
using quantized::Layer;
using safetensors::Dtype;
using Entry = model::Checkpoint::Entry;

constexpr uint64_t kMaxMarkerBytes = 64 * 1024;
constexpr size_t kMaxRank = 5;

/// Types that it reads; I8 only as the weight of a marked layer, and U8 tensors are skipped.
bool is_known(Dtype dtype) {
  return safetensors::is_float(dtype) || dtype == Dtype::kI64 || dtype == Dtype::kI32 ||
         dtype == Dtype::kI8 || dtype == Dtype::kU8 || is_fp8(dtype);
}

class LayerCheck {
 public:
  LayerCheck(const Layer& layer, std::vector<Finding>& findings) : layer_(layer), findings_(findings) {}

  void run() {
    if (layer_.dialect == Dialect::kRaw) return;
    if (fp8()) return check_fp8();
    const Entry* marker = layer_.side("comfy_quant");
    if (!marker) return refuse("has no comfy_quant, the only mark of INT8 that it looks for");
    if (marker->info->bytes() > kMaxMarkerBytes) return refuse("comfy_quant is longer than 64 KiB");
    if (!read_marker(*marker)) return;
    if (!layer_.weight) return refuse("the file has no such weight");
    const std::string format = marker_.format();
    if (format != "int8_tensorwise") {
      return refuse(fmt::format("format '{}' is neither FP8 nor int8_tensorwise, the only ones it reads",
                                printable(format)));
    }
    remark(
        "INT8 is read by builds with a ggml of its own, and refused by those with the one that is published");
    if (layer_.is_quip()) return refuse("transformed by QuIP, which it does not undo");
    check_int8();
  }

 private:
  void refuse(std::string text) { findings_.push_back({layer_.name, std::move(text)}); }
  void remark(std::string text) { findings_.push_back({layer_.name, std::move(text), /*refused=*/false}); }
  bool fp8() const { return layer_.weight && is_fp8(layer_.weight->info->dtype); }

  /// Its own, since the header's map is not read.
  bool read_marker(const Entry& tensor) {
    if (tensor.info->dtype != Dtype::kU8) {
      refuse(fmt::format("comfy_quant is {}, not U8", safetensors::dtype_name(tensor.info->dtype)));
      return false;
    }
    try {
      marker_ = format::Marker::parse(quantized::text_of(tensor));
      return true;
    } catch (const Error& error) {
      refuse(fmt::format("comfy_quant {}", error.what()));
      return false;
    }
  }

  /// The scale is applied by its name, whatever the marker says: one, or one per row.
  void check_fp8() {
    const safetensors::TensorInfo& weight = *layer_.weight->info;
    const Entry* scale = layer_.scale();
    if (weight.shape.size() != 2 || !scale) return refuse("FP8 codes without a scale for them");
    if (layer_.format == "mxfp8" || layer_.format == "hybrid_mxfp8")
      return refuse(fmt::format("{} is read as if it had one scale: pictures are white", layer_.format));
    const int64_t rows = weight.shape[0];
    if (scale->info->numel() != 1 && scale->info->shape != Shape{rows} &&
        scale->info->shape != Shape{rows, 1})
      refuse(
          fmt::format("a scale of shape {}; it reads one, or one per row", shape_text(scale->info->shape)));
  }

  void check_int8() {
    const safetensors::TensorInfo& weight = *layer_.weight->info;
    if (weight.dtype != Dtype::kI8 || weight.shape.size() != 2) {
      return refuse(fmt::format("the weight is {} {}, not I8 with two dimensions",
                                safetensors::dtype_name(weight.dtype), shape_text(weight.shape)));
    }
    const int64_t rows = weight.shape[0], columns = weight.shape[1];
    const Entry* scale = layer_.side("weight_scale");
    if (!scale) {
      refuse("weight_scale is missing");
    } else if (!safetensors::is_float(scale->info->dtype)) {
      refuse(
          fmt::format("weight_scale is {}, not a float type", safetensors::dtype_name(scale->info->dtype)));
    } else if (scale->info->shape != Shape{rows} && scale->info->shape != Shape{rows, 1}) {
      refuse(fmt::format("weight_scale is {}; it needs a scale per row, [{}] or [{}, 1]",
                         shape_text(scale->info->shape), rows, rows));
    }
    if (!marker_.flag("convrot")) return;
    const auto group = marker_.integer("convrot_groupsize", 0);
    if (!marker_.has("convrot_groupsize")) return refuse("convrot without convrot_groupsize");
    if (!group || !is_power_of_four(*group) || columns % *group != 0)
      refuse(fmt::format("convrot_groupsize is no power of 4 that divides in_features {}", columns));
  }

  const Layer& layer_;
  format::Marker marker_;
  std::vector<Finding>& findings_;
};

}  // namespace

std::vector<Finding> check_stable_diffusion_cpp(const quantized::QuantizedFile& file) {
  std::vector<Finding> findings;
  for (const Layer& layer : file.layers) LayerCheck(layer, findings).run();
  for (const Entry& entry : file.checkpoint->entries()) {
    const safetensors::TensorInfo& info = *entry.info;
    const bool marker = entry.name().ends_with(".comfy_quant");
    if (!is_known(info.dtype)) {
      findings.push_back({info.name, fmt::format("{}: a load error", safetensors::dtype_name(info.dtype))});
    } else if (info.dtype == Dtype::kI8 && !file.of_weight(entry) && !file.is_side(info.name)) {
      findings.push_back({info.name, "I8 that is no weight of a marked layer: a load error"});
    } else if (info.dtype == Dtype::kU8 && !marker && !file.of_weight(entry)) {
      findings.push_back({info.name, "U8 tensors are skipped", /*refused=*/false});
    }
    if (info.shape.size() > kMaxRank)
      findings.push_back({info.name, fmt::format("{} dimensions; five at most", info.shape.size())});
  }
  return findings;
}

}  // namespace ctq::verify
