#include "ctq/model/quantized.h"

#include <string_view>

#include "ctq/base/text.h"
#include "ctq/model/layer_names.h"

namespace ctq::model {
namespace {

using safetensors::Dtype;

bool is_code_type(Dtype dtype) {
  return safetensors::dtype_bits(dtype) <= 8 && dtype != Dtype::kBool && dtype != Dtype::kF8E8M0;
}

}  // namespace

std::map<std::string, std::string> find_quantized(const Checkpoint& checkpoint) {
  std::map<std::string, std::string> found;
  if (checkpoint.metadata().contains("_quantization_metadata")) {
    found.emplace("_quantization_metadata", "stands in the header");
  }
  for (const Checkpoint::Entry& entry : checkpoint.entries()) {
    const std::string_view name = entry.name();
    if (name == "scaled_fp8" || name.ends_with(".scaled_fp8")) found.emplace(name, "marks a scaled FP8 file");
    for (const std::string_view suffix : {".comfy_quant", ".weight_scale", ".scale_weight"}) {
      const std::string_view layer = without_suffix(name, suffix);
      if (!layer.empty()) found.emplace(layer, "has " + printable(name));
    }
    if (entry.is_matrix() && entry.info->bytes() > 0 && is_code_type(entry.info->dtype)) {
      found.emplace(entry.layer(),
                    "its weight is " + std::string(safetensors::dtype_name(entry.info->dtype)));
    }
  }
  return found;
}

}  // namespace ctq::model
