#include "format/layout.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ctq::format {
namespace {

constexpr std::string_view kWeightSuffix = ".weight";

std::string json_string(std::string_view text) { return nlohmann::json(text).dump(); }

std::string_view legacy_role(std::string_view role) {
  if (role == "weight_scale") return "scale_weight";
  if (role == "input_scale") return "scale_input";
  return role;
}

}  // namespace

std::string layer_of(std::string_view weight_name) {
  TORCH_INTERNAL_ASSERT(weight_name.ends_with(kWeightSuffix));
  return std::string(weight_name.substr(0, weight_name.size() - kWeightSuffix.size()));
}

std::string side_name(std::string_view layer, std::string_view role, Layout layout) {
  return fmt::format("{}.{}", layer, layout == Layout::kLegacy ? legacy_role(role) : role);
}

std::string marker_json(const Codec& codec, int64_t block_size, MarkerOptions options) {
  std::string json = fmt::format("{{\"format\": {}", json_string(codec.format));
  if (options.full_precision_matrix_mult) json += ", \"full_precision_matrix_mult\": true";
  if (options.rotation_group > 0 && codec.rotation == Rotation::kOptional) json += ", \"convrot\": true";
  if (codec.has_blocks()) json += fmt::format(", \"group_size\": {}", block_size);
  if (codec.group > 0 && codec.pad == 0) json += fmt::format(", \"group_size\": {}", codec.group);
  if (options.rotation_group > 0) json += fmt::format(", \"convrot_groupsize\": {}", options.rotation_group);
  if (options.linear_dtype == LinearDtype::kInt8) json += ", \"linear_dtype\": \"int8\"";
  if (codec.pad > 0)
    json += fmt::format(", \"orig_shape\": [{}, {}]", options.out_features, options.in_features);
  return json + "}";
}

std::string quantization_metadata_json(const std::map<std::string, std::string>& markers) {
  std::string layers;
  for (const auto& [layer, marker] : markers) {
    if (!layers.empty()) layers += ", ";
    layers += fmt::format("{}: {}", json_string(layer), marker);
  }
  return fmt::format("{{\"format_version\": \"1.0\", \"layers\": {{{}}}}}", layers);
}

}  // namespace ctq::format
