// Codes beside a scale of ComfyUI's name, and codes beside nothing at all.
#include "quantized/dialects.h"

namespace ctq::quantized {

using Entry = model::Checkpoint::Entry;
using safetensors::Dtype;

void find_unmarked(Search& search) {
  for (const Entry& entry : search.entries()) {
    const std::string name(entry.layer());
    const bool codes = is_fp8(entry.info->dtype) || entry.info->dtype == Dtype::kI8;
    if (name.empty() || !codes || search.has_layer(name) || search.is_claimed(entry)) continue;
    const Entry* scale = search.find(name + ".scale_weight");
    if (!scale) scale = search.find(name + ".weight_scale");
    if (!scale) continue;
    search.add(name, Dialect::kUnmarked).format =
        format_of_scale(entry.info->dtype, entry.info->shape, scale->info->shape);
  }
}

void find_raw(Search& search) {
  for (const Entry& entry : search.entries()) {
    const std::string name(entry.layer().empty() ? std::string_view(entry.name()) : entry.layer());
    if (!is_fp8(entry.info->dtype) || search.is_claimed(entry) || search.is_side_name(entry.name()) ||
        search.has_layer(name))
      continue;
    Layer& layer = entry.layer().empty() ? search.layers[name] : search.add(name, Dialect::kRaw);
    layer.name = name;
    layer.dialect = Dialect::kRaw;
    layer.weight = &entry;
    layer.format = entry.info->dtype == Dtype::kF8E5M2 ? "float8_e5m2" : "float8_e4m3fn";
    if (entry.layer().empty()) layer.tensor = entry.name();
  }
}

}  // namespace ctq::quantized
