// The legacy layout: a tensor `scaled_fp8` and scales under its prefix.
#include "model/layer_names.h"
#include "quantized/dialects.h"

namespace ctq::quantized {

using Entry = model::Checkpoint::Entry;
using safetensors::Dtype;

/// A scale without a weight is a stray.
void find_scaled_fp8(Search& search) {
  if (search.found.log_scales || search.found.has_header_map) return;
  for (const std::string& marker : search.found.scaled_fp8) {
    const std::string_view prefix = model::without_suffix(marker, "scaled_fp8");
    for (const Entry& entry : search.entries()) {
      const std::string name(model::without_suffix(entry.name(), ".scale_weight"));
      if (name.empty() || !name.starts_with(prefix) || search.has_layer(name)) continue;
      const Entry* weight = search.find(name + ".weight");
      if (!weight) continue;
      search.add(name, Dialect::kScaledFp8).format =
          weight->info->dtype == Dtype::kF8E5M2 ? "float8_e5m2" : "float8_e4m3fn";
    }
  }
}

}  // namespace ctq::quantized
