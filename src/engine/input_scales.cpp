#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string_view>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "calibrate/layer_names.h"
#include "engine/parts.h"
#include "engine/recordings.h"

namespace ctq::engine {
namespace {

using Scales = std::map<std::string, double, std::less<>>;

/// throws  Error naming the setting
[[noreturn]] void fail_on(const Setting<Path>& setting, ErrorCode code, std::string_view fact) {
  fail(code, "argument {}: {}", setting, fact);
}

double checked(const Setting<Path>& file, const std::string& layer, double scale) {
  if (!std::isfinite(scale) || scale <= 0)
    fail_on(file, ErrorCode::kBadInput,
            fmt::format("{}: the input scale of '{}' is {}, not a positive number", file->string(),
                        printable(layer), scale));
  return scale;
}

Scales read_json(const Setting<Path>& file) {
  const std::string path = file->string();
  const nlohmann::json root =
      nlohmann::json::parse(text_of_file(file, path), nullptr, /*allow_exceptions=*/false);
  if (!root.is_object())
    fail_on(file, ErrorCode::kBadInput, fmt::format("{}: is not a JSON object of layers", path));
  Scales scales;
  for (const auto& [layer, value] : root.items()) {
    if (!value.is_number())
      fail_on(file, ErrorCode::kBadInput,
              fmt::format("{}: the input scale of '{}' is not a number", path, printable(layer)));
    scales[layer] = checked(file, layer, value.get<double>());
  }
  return scales;
}

/// Of another quantized file, in either layout.
Scales read_safetensors(const Setting<Path>& setting) {
  const model::Checkpoint file = model::Checkpoint::open(setting->string());
  Scales scales;
  for (const model::Checkpoint::Entry& entry : file.entries()) {
    for (const std::string_view suffix : std::array{".input_scale", ".scale_input"}) {
      if (!entry.name().ends_with(suffix) || entry.info->numel() != 1) continue;
      const std::string layer = entry.name().substr(0, entry.name().size() - suffix.size());
      scales[layer] = checked(setting, layer, model::load(entry).to(at::kDouble).item<double>());
    }
  }
  return scales;
}

}  // namespace

plan::InputScales find_input_scales(const Calibration& asked, const model::Checkpoint& checkpoint,
                                    const calibrate::Recording* recording,
                                    std::vector<std::string>& warnings) {
  plan::InputScales found;
  found.one_for_all = *asked.unit_input_scales;
  const Setting<Path>& file = asked.input_scales;
  if (!file->empty()) {
    const Scales given = file->extension() == ".json" ? read_json(file) : read_safetensors(file);
    const calibrate::LayerNames names(checkpoint);
    size_t unknown = 0, renamed = 0;
    for (const auto& [name, scale] : given) {
      const auto* weight = names.find(name);
      if (weight) {
        found.scales[std::string(weight->layer())] = scale;
        continue;
      }
      weight = names.find_renamed(name).weight;
      ++(weight ? renamed : unknown);
      if (!weight) continue;
      double& largest = found.scales[std::string(weight->layer())];
      largest = std::max(largest, scale);
    }
    for (const auto& [layer, scale] : found.scales) {
      const auto recorded = recording ? recording->input_scale(layer) : std::nullopt;
      if (recorded && *recorded != scale)
        fail_on(file, ErrorCode::kUsage,
                fmt::format("layer '{}' has input scale {} there and {} in {}", printable(layer), scale,
                            *recorded, asked.data));
    }
    if (found.scales.empty())
      fail_on(file, ErrorCode::kFailure,
              fmt::format("{}: none of its {} layers is in the model", file->string(), given.size()));
    if (renamed > 0)
      spdlog::info(
          "note: {}: {} of its layers have another library's names; of joined ones the largest counts",
          file->string(), renamed);
    if (unknown > 0)
      warnings.push_back(fmt::format("{}: {} of its layers are not in the model", file, unknown));
  }
  if (!*asked.static_activations) return found;
  for (const model::Checkpoint::Entry& entry : checkpoint.entries()) {
    if (!recording || !entry.is_matrix()) continue;
    if (const auto magnitude = recording->input_magnitude(entry.layer()))
      found.magnitudes.emplace(entry.layer(), *magnitude);
  }
  if (found.magnitudes.empty())
    warnings.push_back(
        fmt::format("{}: no measured inputs; give a recording with {}. The loader scales activations itself",
                    asked.static_activations, asked.data));
  return found;
}

}  // namespace ctq::engine
