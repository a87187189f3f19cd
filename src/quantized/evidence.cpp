#include "quantized/evidence.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.h"
#include "dialects.h"
#include "model/layer_names.h"

namespace ctq::quantized {
namespace {

using Entry = model::Checkpoint::Entry;
using safetensors::Dtype;

bool is_code_type(Dtype dtype) {
  return safetensors::dtype_bits(dtype) <= 8 && dtype != Dtype::kBool && dtype != Dtype::kF8E8M0;
}

/// A matrix that only quantization makes of that type.
bool is_code_matrix(const Entry& entry) {
  return entry.is_matrix() && entry.info->bytes() > 0 && is_code_type(entry.info->dtype);
}

std::string type_text(const Entry& weight) {
  return fmt::format("its weight is {}", safetensors::dtype_name(weight.info->dtype));
}

/// Whether the dialect's name says all that the layer's format does.
bool names_format(Dialect dialect) {
  return dialect == Dialect::kNvfp4 || dialect == Dialect::kMxfp8 || dialect == Dialect::kMxfp4 ||
         dialect == Dialect::kNamed || dialect == Dialect::kUnknown;
}

/// Whether the scale's name tells more than a dialect's.
bool is_named_by_scale(Dialect dialect) {
  return dialect == Dialect::kScaleInv || dialect == Dialect::kQscale || dialect == Dialect::kPlainScale;
}

/// Empty where the layer is none: FP8 that is no matrix, without a scale.
std::string reason(const Layer& layer) {
  if (layer.dialect == Dialect::kRaw) return is_code_matrix(*layer.weight) ? type_text(*layer.weight) : "";
  if (is_named_by_scale(layer.dialect)) return "has " + printable(layer.scale()->name());
  if (is_foreign(layer.dialect)) {
    const bool whole = names_format(layer.dialect) || layer.format.empty();
    return fmt::format("is {}{}", layer.dialect_label(),
                       whole ? "" : fmt::format(" ({})", printable(layer.format)));
  }
  for (const char* role : {"comfy_quant", "weight_scale", "scale_weight"})
    if (const Entry* side = layer.side(role)) return "has " + printable(side->name());
  return layer.weight ? type_text(*layer.weight) : "";
}

/// The layer of a scale that belongs to no quantized one; empty for tensors that prove nothing.
std::string_view owner_of_stray(std::string_view stray) {
  for (const char* suffix : {".comfy_quant", ".weight_scale", ".scale_weight", ".weight_scale_inv", ".SCB"}) {
    if (const std::string_view layer = model::without_suffix(stray, suffix); !layer.empty()) return layer;
  }
  return "";
}

}  // namespace

std::map<std::string, std::string> evidence(const QuantizedFile& file) {
  std::map<std::string, std::string> found;
  if (file.checkpoint->metadata().contains("_quantization_metadata"))
    found.emplace("_quantization_metadata", "stands in the header");
  for (const std::string& token : file.scaled_fp8) found.emplace(token, "marks a scaled FP8 file");
  for (const Layer& layer : file.layers)
    if (std::string why = reason(layer); !why.empty()) found.emplace(layer.name, std::move(why));
  for (const std::string& stray : file.strays) {
    if (const std::string_view layer = owner_of_stray(stray); !layer.empty())
      found.emplace(layer, "has " + printable(stray));
  }
  for (const Entry& entry : file.checkpoint->entries())
    if (is_code_matrix(entry) && !file.is_side(entry.name())) found.emplace(entry.layer(), type_text(entry));
  return found;
}

std::map<std::string, std::string> find_quantized(const model::Checkpoint& checkpoint) {
  return evidence(find_layers(checkpoint));
}

std::string way_out_of(const QuantizedFile& file, std::string_view way_out) {
  const auto faulty =
      std::ranges::find_if(file.layers, [](const Layer& layer) { return !layer.fault.empty(); });
  if (faulty != file.layers.end()) {
    const bool order = faulty->order_unknown;
    return fmt::format(
        "{}{}", faulty->fault,
        order ? "" : "; start from the original, unquantized file, or decode it with that program");
  }
  if (file.layers.empty() && file.scaled_fp8.empty() && !file.strays.empty())
    return fmt::format(
        "no codes belong to that scale: --requantize leaves it out, with a warning, and so does "
        "edit --remove-tensors");
  const bool unmarked = std::ranges::any_of(file.layers, [](const Layer& layer) {
    return layer.dialect == Dialect::kNvfp4 || layer.dialect == Dialect::kMxfp8;
  });
  return fmt::format("{}{}", way_out,
                     unmarked ? "; 'migrate add-markers' makes it a file that ComfyUI loads" : "");
}

}  // namespace ctq::quantized
