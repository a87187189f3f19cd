#include "engine/input_scale_patch.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/cancel.h"
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "calibrate/gather.h"
#include "engine/recordings.h"
#include "format/codec.h"
#include "format/marker_json.h"
#include "quantized/evidence.h"
#include "quantized/layers.h"
#include "rewrite/output.h"
#include "safetensors/writer.h"

namespace ctq::engine {
namespace {

using CheckpointEntry = model::Checkpoint::Entry;
using nlohmann::json;

constexpr std::string_view kMarkerSuffix = ".comfy_quant";
constexpr const char* kMetadataKey = "_quantization_metadata";

/// The markers of the file, tensors first, then those that only the header has. Parsed later.
std::map<std::string, std::string> find_markers(const model::Checkpoint& quantized) {
  std::map<std::string, std::string> markers;
  for (const CheckpointEntry& entry : quantized.entries()) {
    if (entry.name().ends_with(kMarkerSuffix) && entry.info->bytes() <= ctq::quantized::kMaxMarkerBytes)
      markers[entry.name().substr(0, entry.name().size() - kMarkerSuffix.size())] =
          ctq::quantized::text_of(entry);
  }
  if (const auto header = quantized.metadata().find(kMetadataKey); header != quantized.metadata().end()) {
    const json value = json::parse(header->second, nullptr, /*allow_exceptions=*/false);
    const json layers = value.is_object() ? value.value("layers", json::object()) : json::object();
    for (const auto& [layer, marker] : layers.items()) markers.emplace(layer, marker.dump());
  }
  std::erase_if(markers, [&](const auto& marker) { return !quantized.find(marker.first + ".weight"); });
  if (!markers.empty()) return markers;
  const auto evidence = ctq::quantized::find_quantized(quantized);
  fail(ErrorCode::kBadInput, "{}: holds no quantized layer with a marker '<layer>.comfy_quant'{}",
       quantized.path(),
       evidence.empty() ? ""
                        : fmt::format("; '{}' {}, which is not the comfy layout",
                                      printable(evidence.begin()->first), evidence.begin()->second));
}

/// Why a layer with this marker gets no input scale; nothing, and the largest code, when it does.
std::optional<std::string> passed_over(const std::string& marker, float& largest_code) {
  const json value = json::parse(marker, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object()) return "its marker is no JSON object";
  const auto says = [](const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && *found == true;
  };
  const json parameters = value.value("params", json::object());
  if (says(value, "convrot") || (parameters.is_object() && says(parameters, "convrot")))
    return "its input is rotated before it is quantized";
  const json format = value.value("format", json());
  for (const format::Codec& codec : format::registry()) {
    if (format != codec.format || !codec.reads_input_scale) continue;
    largest_code = format::largest_input(codec);
    return std::nullopt;
  }
  return fmt::format("format {} has no input scale in this version", format.dump());
}

/// Layer -> input scale.
using Scales = std::map<std::string, float>;

Scales input_scales(const std::map<std::string, std::string>& markers, const model::Checkpoint& quantized,
                    const calibrate::CalibrationFile& statistics, double percentile) {
  const calibrate::MatchedLayers matched = statistics.match(quantized);
  note_renamed(statistics.path(), matched);
  std::map<std::vector<std::string>, std::optional<double>> magnitudes;  // by inputs, which layers share
  Scales scales;
  for (const auto& [layer, marker] : markers) {
    throw_if_cancelled();
    if (!matched.owners.contains(layer)) continue;
    float largest_code = 1;
    if (const auto reason = passed_over(marker, largest_code)) {
      warn("layer '{}' gets no input scale: {}", printable(layer), *reason);
      continue;
    }
    const auto [known, is_new] = magnitudes.try_emplace(matched.inputs(layer));
    if (is_new) known->second = calibrate::input_magnitude(statistics, known->first, percentile);
    if (!known->second) {
      warn("layer '{}' gets no input scale: {} has no magnitude of its input that is a number",
           printable(layer), statistics.path());
      continue;
    }
    const auto scale = static_cast<float>(*known->second / static_cast<double>(largest_code));
    scales[layer] = scale > 0 ? scale : 1.0f;
  }
  if (scales.empty())
    fail(ErrorCode::kFailure, "{}: has no statistics for any of the {} quantized layers of {}",
         statistics.path(), markers.size(), quantized.path());
  return scales;
}

/// What is written of one tensor of the copy.
struct Copy {
  const CheckpointEntry* source = nullptr;
  std::string bytes;  ///< in place of the source's, where there is none
};

void write_copy(const model::Checkpoint& quantized, const Scales& scales, const std::string& output) {
  std::vector<safetensors::TensorInfo> infos;
  std::map<std::string, Copy> copies;
  const auto add = [&](safetensors::TensorInfo info, Copy copy) {
    copies.emplace(info.name, std::move(copy));
    infos.push_back(std::move(info));
  };
  for (const CheckpointEntry& entry : quantized.entries()) {
    const std::string_view name = entry.name();
    const std::string layer(name.substr(0, std::min(name.rfind('.'), name.size())));
    const bool scaled = scales.contains(layer);
    if (scaled && name.ends_with(".input_scale")) continue;
    if (!scaled || !name.ends_with(kMarkerSuffix)) {
      add(*entry.info, {&entry, ""});
      continue;
    }
    Copy marker{nullptr, format::calibrated_marker(ctq::quantized::text_of(entry))};
    safetensors::TensorInfo info = *entry.info;
    info.shape = {static_cast<int64_t>(marker.bytes.size())};
    add(std::move(info), std::move(marker));
  }
  for (const auto& [layer, scale] : scales) {
    safetensors::TensorInfo info;
    info.name = layer + ".input_scale";
    info.dtype = safetensors::Dtype::kF32;
    add(std::move(info), {nullptr, std::string(reinterpret_cast<const char*>(&scale), sizeof scale)});
  }
  safetensors::Metadata metadata = rewrite::copied_metadata(quantized);
  if (const auto header = metadata.find(kMetadataKey); header != metadata.end()) {
    std::set<std::string> layers;
    for (const auto& [layer, scale] : scales) layers.insert(layer);
    header->second = format::calibrated_metadata(header->second, layers);
  }
  safetensors::Writer writer(output, safetensors::lay_out(infos), metadata);
  for (const auto& [name, copy] : copies) {
    throw_if_cancelled();
    if (copy.source) {
      writer.copy(name, *copy.source->file, *copy.source->info);
    } else {
      writer.write(name, std::as_bytes(std::span(copy.bytes)));
    }
  }
  writer.commit();
}

}  // namespace

Patched patch_input_scales(const model::Checkpoint& quantized, const calibrate::CalibrationFile& statistics,
                           double percentile, const std::string& output) {
  const std::map<std::string, std::string> markers = find_markers(quantized);
  const Scales scales = input_scales(markers, quantized, statistics, percentile);
  write_copy(quantized, scales, output);
  return {nlohmann::ordered_json(scales).dump(2) + "\n", markers.size(), scales.size()};
}

}  // namespace ctq::engine
