#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "engine/output_path.h"
#include "engine/parts.h"
#include "engine/unused.h"

namespace ctq::engine {
namespace {

constexpr double kDampening = 0.9;  // of each LoRA against the one before

/// "0.8" or "1.0,0.6".
std::vector<double> strengths_of(const Setting<std::string>& setting) {
  const std::string& text = *setting;
  std::vector<double> strengths;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    double value = 0;
    const auto [end, fault] = std::from_chars(text.data() + at, text.data() + comma, value);
    if (fault != std::errc() || end != text.data() + comma || !std::isfinite(value))
      refuse(setting, "is not a number or a comma list");
    strengths.push_back(value);
    at = comma + 1;
  }
  return strengths;
}

lora::LayerMap map_of(const Setting<Path>& setting) {
  const std::string path = setting->string();
  const nlohmann::json root =
      nlohmann::json::parse(text_of_file(setting, path), nullptr, /*allow_exceptions=*/false);
  if (!root.is_object())
    fail(ErrorCode::kBadInput, "argument {}: {}: is not a JSON object of layers", setting, path);
  lora::LayerMap map;
  for (const auto& [layer, target] : root.items()) {
    if (!target.is_string() && !target.is_null())
      fail(ErrorCode::kBadInput, "argument {}: {}: '{}' is neither a layer's name nor null", setting, path,
           printable(layer));
    map[layer] = target.is_null() ? "" : target.get<std::string>();
  }
  return map;
}

/// What nothing reads without adapters.
Merging without_files(const Loras& loras, Remarks remarks) {
  if (loras.merged_only.given())
    refuse_to_have(loras.merged_only, fmt::format("needs {} or {}", loras.last_file, loras.files));
  Unused(remarks).note({&loras.strengths, &loras.dampen, &loras.map, &loras.allow_partial},
                       fmt::format("without {}", loras.last_file));
  return {};
}

}  // namespace

std::string text_of_file(const AnySetting& setting, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad())
    fail(ErrorCode::kBadInput, "argument {}: {}: cannot be read", setting, path);
  return content;
}

Merging read_merging(const Settings& settings, Remarks remarks) {
  const Loras& loras = settings.loras;
  const std::vector<double> strengths = strengths_of(loras.strengths);
  Merging merging{
      .files = {}, .map = {}, .allow_partial = *loras.allow_partial, .only_to = loras.merged_only->string()};
  for (const Path& path : *loras.files)
    merging.files.push_back({.path = path.string(), .label = std::string(loras.files.label())});
  if (loras.last_file.given())
    merging.files.push_back(
        {.path = loras.last_file->string(), .label = std::string(loras.last_file.label())});
  if (merging.files.empty()) return without_files(loras, remarks);
  if (merging.files.size() == 1) Unused(remarks).note({&loras.dampen}, "on a single LoRA");
  if (strengths.size() != 1 && strengths.size() != merging.files.size())
    refuse(loras.strengths,
           fmt::format("has {} numbers for {} LoRAs", strengths.size(), merging.files.size()));
  double share = 1;
  for (size_t i = 0; i < merging.files.size(); ++i) {
    merging.files[i].strength = share * (strengths.size() == 1 ? strengths[0] : strengths[i]);
    if (*loras.dampen) share *= kDampening;
  }
  if (loras.files.given() && loras.last_file.given())
    remarks.notes.push_back(fmt::format("{} comes after those of {}", loras.last_file, loras.files));
  if (loras.map.given()) merging.map = map_of(loras.map);
  for (const AnySetting* other : std::initializer_list<const AnySetting*>{
           &settings.output.path, &settings.report.dry_run, &settings.report.files}) {
    if (!merging.only_to.empty() && other->given())
      refuse_to_have(loras.merged_only, fmt::format("writes the merged model alone, without {}", *other));
  }
  return merging;
}

void read_extraction(Job& job) {
  const Loras& loras = job.settings.loras;
  if (!*loras.extract) {
    for (const AnySetting* setting :
         std::initializer_list<const AnySetting*>{&loras.extracted, &loras.rank, &loras.target, &loras.depth,
                                                  &loras.aspect_threshold, &loras.dtype}) {
      if (setting->given()) refuse_to_have(*setting, fmt::format("needs {}", loras.extract));
    }
    return;
  }
  if (!job.merging.files.empty())
    refuse(
        loras.extract,
        fmt::format("compares with the model as it was; write the merged one first ({}), then convert that",
                    loras.merged_only));
  if (*job.settings.calibration.smoothquant)
    refuse(loras.extract,
           fmt::format("does not go with {}: weights whose factors are folded are not those of the original "
                       "model",
                       job.settings.calibration.smoothquant));
  job.extraction = extraction_of(loras);
  job.lora_output = loras.extracted.given() ? loras.extracted->string() : lora_output_name(job.output);
  if (job.lora_output == job.output)
    refuse(loras.extracted, "is the output file; choose another name", job.lora_output);
}

lora::ExtractOptions extraction_of(const Loras& loras) {
  lora::ExtractOptions options{.rank = *loras.rank,
                               .always = nullptr,
                               .depth = *loras.depth,
                               .aspect_threshold = *loras.aspect_threshold,
                               .dtype = *loras.dtype};
  if (loras.target.given())
    options.always = [pattern = pattern_of(loras.target)](const std::string& name) {
      return pattern.search(name);
    };
  return options;
}

}  // namespace ctq::engine
