#include "format/marker_json.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "spaced_json.h"

namespace ctq::format {
namespace {

using nlohmann::ordered_json;

constexpr const char* kCalibrated = "input_scale_calibrated";

ordered_json parse_object(std::string_view text, std::string_view what) {
  ordered_json value = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object())
    fail(ErrorCode::kBadInput, "the {} is '{}', not a JSON object", what, printable(text));
  return value;
}

bool is_calibrated(const ordered_json& marker) {
  const auto found = marker.find(kCalibrated);
  return found != marker.end() && *found == true;
}

}  // namespace

std::string calibrated_marker(std::string_view marker) {
  ordered_json value = parse_object(marker, "marker");
  if (is_calibrated(value)) return std::string(marker);
  value.erase(kCalibrated);
  value[kCalibrated] = true;
  return spaced(value);
}

std::string calibrated_metadata(std::string_view metadata, const std::set<std::string>& layers) {
  ordered_json value = parse_object(metadata, "header entry _quantization_metadata");
  const auto markers = value.find("layers");
  if (markers == value.end() || !markers->is_object())
    fail(ErrorCode::kBadInput, "the header entry _quantization_metadata has no object 'layers'");
  for (auto& [layer, marker] : markers->items()) {
    if (!layers.contains(layer) || !marker.is_object() || is_calibrated(marker)) continue;
    marker.erase(kCalibrated);
    marker[kCalibrated] = true;
  }
  return spaced(value);
}

std::string edited_marker(std::string_view marker, const KeyChanges& changes) {
  const ordered_json before = parse_object(marker, "marker");
  ordered_json after = before;
  for (const std::string& key : changes.remove) after.erase(key);
  for (const auto& [key, value] : changes.set) after[key] = ordered_json::parse(value);
  return after == before ? std::string(marker) : spaced(after);
}

std::string flattened_marker(std::string_view marker) {
  ordered_json value = parse_object(marker, "marker");
  const auto found = value.find("params");
  if (found == value.end() || !found->is_object()) return std::string(marker);
  const ordered_json parameters = *found;
  value.erase("params");
  for (const auto& [key, parameter] : parameters.items()) {
    if (!value.contains(key)) value[key] = parameter;
  }
  return spaced(value);
}

}  // namespace ctq::format
