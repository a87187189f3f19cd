#include "input_scales.h"

#include <array>
#include <cmath>
#include <string_view>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/options/option_file.h"
#include "ctq/base/error.h"
#include "ctq/base/text.h"

namespace ctq::cli {
namespace {

using Scales = std::map<std::string, double, std::less<>>;

template <typename... Args>
[[noreturn]] void refuse(ErrorCode code, fmt::format_string<Args...> message, Args&&... args) {
  fail(code, "argument --input-scales: {}", fmt::format(message, std::forward<Args>(args)...));
}

double checked(const std::string& path, const std::string& layer, double scale) {
  if (!std::isfinite(scale) || scale <= 0)
    refuse(ErrorCode::kBadInput, "{}: the input scale of '{}' is {}, not a positive number", path,
           printable(layer), scale);
  return scale;
}

Scales read_json(const std::string& path) {
  const std::string text = read_option_file("--input-scales", path);
  const nlohmann::json root = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) refuse(ErrorCode::kBadInput, "{}: is not a JSON object of layers", path);
  Scales scales;
  for (const auto& [layer, value] : root.items()) {
    if (!value.is_number())
      refuse(ErrorCode::kBadInput, "{}: the input scale of '{}' is not a number", path, printable(layer));
    scales[layer] = checked(path, layer, value.get<double>());
  }
  return scales;
}

/// Of another quantized file, in either layout.
Scales read_safetensors(const std::string& path) {
  const model::Checkpoint file = model::Checkpoint::open(path);
  Scales scales;
  for (const model::Checkpoint::Entry& entry : file.entries()) {
    for (const std::string_view suffix : std::array{".input_scale", ".scale_input"}) {
      if (!entry.name().ends_with(suffix) || entry.info->numel() != 1) continue;
      const std::string layer = entry.name().substr(0, entry.name().size() - suffix.size());
      scales[layer] = checked(path, layer, model::load(entry).to(at::kDouble).item<double>());
    }
  }
  return scales;
}

}  // namespace

InputScaleOptions read_input_scale_options(const Arguments& arguments) {
  InputScaleOptions options{.measured = arguments.flag("static_activations"),
                            .one = arguments.flag("input_scale"),
                            .file = arguments.text("input_scales")};
  const std::string& file = options.file;
  if (!file.empty() && !file.ends_with(".json") && !file.ends_with(".safetensors"))
    refuse(ErrorCode::kUsage, "must be a .json or a .safetensors file (got '{}')", printable(file));
  return options;
}

plan::InputScales find_input_scales(const InputScaleOptions& options, const model::Checkpoint& checkpoint,
                                    const calibrate::Recording* recording,
                                    std::vector<std::string>& warnings) {
  plan::InputScales found;
  found.one_for_all = options.one;
  if (!options.file.empty()) {
    const Scales given =
        options.file.ends_with(".json") ? read_json(options.file) : read_safetensors(options.file);
    for (const auto& [layer, scale] : given) {
      const auto* weight = checkpoint.find(fmt::format("{}.weight", layer));
      if (!weight || !weight->is_matrix()) continue;
      found.scales[layer] = scale;
      const auto recorded = recording ? recording->input_scale(layer) : std::nullopt;
      if (recorded && *recorded != scale)
        refuse(ErrorCode::kUsage, "layer '{}' has input scale {} there and {} in --calibration-data",
               printable(layer), scale, *recorded);
    }
    if (found.scales.empty())
      refuse(ErrorCode::kFailure, "{}: none of its {} layers is in the model", options.file, given.size());
    if (found.scales.size() < given.size())
      warnings.push_back(fmt::format("--input-scales: {} of its layers are not in the model",
                                     given.size() - found.scales.size()));
  }
  if (!options.measured) return found;
  for (const model::Checkpoint::Entry& entry : checkpoint.entries()) {
    if (!recording || !entry.is_matrix()) continue;
    if (const auto largest = recording->largest_input(entry.layer()))
      found.largest_inputs.emplace(entry.layer(), *largest);
  }
  if (found.largest_inputs.empty())
    warnings.emplace_back(
        "--static-activations: no measured inputs; give a recording with --calibration-data. The loader "
        "scales activations itself");
  return found;
}

}  // namespace ctq::cli
