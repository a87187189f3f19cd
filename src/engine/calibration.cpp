#include "engine/calibration.h"

#include <algorithm>
#include <filesystem>
#include <initializer_list>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "calibrate/gather.h"
#include "calibrate/statistics_file.h"
#include "engine/input_scale_patch.h"
#include "engine/output_path.h"
#include "engine/parts.h"
#include "engine/recordings.h"
#include "model/checkpoint.h"
#include "quantized/evidence.h"
#include "safetensors/writer.h"

namespace ctq::engine {
namespace {

using calibrate::CalibrationFile;
using calibrate::StatisticsEntry;

using Asked = CalibrationSettings;

void refuse_together(std::initializer_list<const AnySetting*> settings, std::string_view fact) {
  for (const AnySetting* setting : settings) {
    if (setting->given()) refuse_to_have(*setting, fact);
  }
}

/// Where the statistics go; empty when only the input scales are written.
std::string statistics_path(const Asked& asked) {
  std::string path = asked.output->string();
  if (path.empty()) {
    if (asked.json->empty()) required(asked.output);
    return path;
  }
  if (asked.writes_json() && !path.ends_with(".json")) path += ".json";
  if (!path.ends_with(".json") && !path.ends_with(".safetensors"))
    refuse(asked.output, "must end in .safetensors or .json", path);
  return path;
}

/// No output is an input, a directory or the other output.
void check_outputs(const std::string& output, const Asked& asked, const std::vector<std::string>& inputs) {
  const std::string scales = asked.json->string();
  for (const std::string& path : {output, scales}) {
    if (path.empty()) continue;
    for (const std::string& input : inputs)
      if (!input.empty()) check_output_path(path, input);
  }
  if (!output.empty() && output == scales) refuse(asked.json, "is the output file");
}

std::string file_name(const std::string& path) { return std::filesystem::path(path).filename().string(); }

void write_results(const std::vector<StatisticsEntry>& entries, const safetensors::Metadata& metadata,
                   const std::string& output, const std::string& scales) {
  if (!output.empty()) {
    const bool loses_rows =
        std::ranges::any_of(entries, [](const StatisticsEntry& entry) { return !entry.large.empty(); });
    if (loses_rows && output.ends_with(".json"))
      spdlog::info("note: JSON holds channel_max, channel_mean and input_scale; rows and H are not written");
    calibrate::write_statistics(output, entries, metadata);
  }
  if (!scales.empty()) safetensors::write_text_file(scales, calibrate::input_scales_json(entries));
  size_t layers = entries.size();
  for (const StatisticsEntry& entry : entries) layers += entry.shared_by.size();
  spdlog::info("Statistics of {} inputs, {} layers: {}", entries.size(), layers,
               output.empty() ? scales : output);
}

/// A seed where recorded rows are all kept.
void note_unused_seed(const Asked& asked) {
  if (asked.seed.given() && !asked.rows.given())
    spdlog::info("note: {} has no effect without {}: no rows are chosen", asked.seed, asked.rows);
}

void warn_of_unmatched(const CalibrationFile& file, const calibrate::MatchedLayers& matched) {
  if (matched.unmatched.empty()) return;
  warn("{}: {} of its layers, first '{}', are no 2-D weights of the model", file.path(),
       matched.unmatched.size(), printable(matched.unmatched.front()));
}

void gather_from_rows(const Asked& asked, const model::Checkpoint& checkpoint, const std::string& output) {
  const std::string path = asked.activations->string();
  const auto activations = naming(asked.activations, [&] { return CalibrationFile::open_activations(path); });
  const auto matched = naming(asked.activations, [&] { return activations.match(checkpoint); });
  note_renamed(path, matched);
  warn_of_unmatched(activations, matched);
  const calibrate::MeasuredOptions options{.percentile = *asked.percentile,
                                           .rows = asked.rows_to_keep(),
                                           .seed = asked.seed_value(),
                                           .hessian = *asked.hessian,
                                           .device = device_of(asked.device)};
  const auto entries = calibrate::gather_measured(activations, checkpoint, matched, options);
  safetensors::Metadata metadata{{"source", file_name(path)},
                                 {"model", file_name(checkpoint.path())},
                                 {"model_fingerprint", model::fingerprint(checkpoint)},
                                 {"percentile", asked.percentile.text()}};
  if (const auto source = activations.metadata().find("source"); source != activations.metadata().end())
    metadata["source"] = source->second;
  if (options.rows) {
    metadata["rows"] = std::to_string(*options.rows);
    metadata["seed"] = std::to_string(options.seed);
  }
  write_results(entries, metadata, output, asked.json->string());
}

void gather_from_nothing(const Asked& asked, const model::Checkpoint& checkpoint, const std::string& output) {
  const calibrate::SyntheticOptions options{.samples = *asked.samples,
                                            .seed = asked.seed_value(),
                                            .percentile = *asked.percentile,
                                            .lora = asked.lora->string()};
  const auto gathered =
      options.lora.empty()
          ? calibrate::gather_synthetic(checkpoint, options)
          : naming(asked.lora, [&] { return calibrate::gather_synthetic(checkpoint, options); });
  if (gathered.from_lora < gathered.entries.size()) {
    warn(
        "the statistics of {} of {} layers are those of random rows and say nothing of the model; record "
        "real ones and give them to --activations",
        gathered.entries.size() - gathered.from_lora, gathered.entries.size());
  }
  const safetensors::Metadata metadata{
      {"source",
       options.lora.empty() ? "random rows" : fmt::format("random rows, {}", file_name(options.lora))},
      {"model", file_name(checkpoint.path())},
      {"model_fingerprint", model::fingerprint(checkpoint)},
      {"percentile", asked.percentile.text()},
      {"samples", std::to_string(options.samples)},
      {"seed", std::to_string(options.seed)}};
  write_results(gathered.entries, metadata, output, asked.json->string());
}

void gather(const Asked& asked) {
  required(asked.input);
  const std::string output = statistics_path(asked);
  if (asked.activations.given()) {
    refuse_together({&asked.samples, &asked.lora}, fmt::format("does not go with {}", asked.activations));
    if (*asked.hessian) refuse_together({&asked.rows}, fmt::format("does not go with {}", asked.hessian));
    note_unused_seed(asked);
  } else {
    refuse_together({&asked.rows, &asked.hessian}, fmt::format("needs {}", asked.activations));
  }
  if (!*asked.hessian) refuse_together({&asked.device}, fmt::format("needs {}", asked.hessian));
  check_outputs(output, asked, {asked.input->string(), asked.activations->string(), asked.lora->string()});
  const model::Checkpoint checkpoint = model::Checkpoint::open(asked.input->string());
  if (!output.empty()) check_output_is_no_input(output, checkpoint);
  asked.activations.given() ? gather_from_rows(asked, checkpoint, output)
                            : gather_from_nothing(asked, checkpoint, output);
}

void refuse_doubles(const AnySetting& setting, const std::vector<std::string>& paths) {
  std::error_code error;
  for (auto path = paths.begin(); path != paths.end(); ++path) {
    const bool twice = std::any_of(paths.begin(), path, [&](const std::string& earlier) {
      return std::filesystem::equivalent(*path, earlier, error);
    });
    if (twice) refuse(setting, "the same file stands twice", *path);
  }
}

void merge(const Asked& asked) {
  const std::string output = statistics_path(asked);
  if (*asked.hessian) refuse_together({&asked.rows}, fmt::format("does not go with {}", asked.hessian));
  note_unused_seed(asked);
  const std::vector<std::string> paths = paths_of(asked.merge);
  refuse_doubles(asked.merge, paths);
  check_outputs(output, asked, paths);
  const calibrate::MergeOptions options{
      .rows = asked.rows_to_keep(), .seed = asked.seed_value(), .hessian = *asked.hessian};
  return naming(asked.merge, [&] {
    std::vector<CalibrationFile> files;
    for (const std::string& path : paths) files.push_back(CalibrationFile::open(path));
    const std::vector<StatisticsEntry> entries = calibrate::merge(files, options);
    write_results(entries, calibrate::merged_metadata(files, options), output, asked.json->string());
  });
}

void patch(const Asked& asked) {
  required(asked.input);
  for (const AnySetting* setting :
       std::initializer_list<const AnySetting*>{&asked.samples, &asked.seed, &asked.lora, &asked.device}) {
    if (setting->given())
      spdlog::info("note: {} has no effect with {}: input scales are measured, of recorded inputs", *setting,
                   asked.patch);
  }
  const bool has_rows = asked.activations.given(), has_statistics = asked.data.given();
  if (has_rows && has_statistics)
    refuse_to_have(asked.data, fmt::format("does not go with {}", asked.activations));
  if (!has_rows && !has_statistics)
    refuse_to_have(asked.patch, fmt::format("needs {} or {}; an input scale is measured, not guessed",
                                            asked.activations, asked.data));
  if (asked.writes_json())
    refuse_to_have(asked.json,
                   fmt::format("with {} needs a path, {}=PATH, for the scales", asked.patch, asked.json));
  const std::string input = asked.input->string();
  const std::string output =
      asked.output.given() ? asked.output->string() : input_stem(input) + "_calibrated.safetensors";
  const Setting<Path>& source = has_rows ? asked.activations : asked.data;
  const std::string path = source->string();
  check_outputs(output, asked, {input, path});
  const model::Checkpoint checkpoint = model::Checkpoint::open(input);
  check_output_is_no_input(output, checkpoint);
  const CalibrationFile statistics = naming(source, [&] {
    return has_rows ? CalibrationFile::open_activations(path) : CalibrationFile::open(path);
  });
  const bool any_random = std::ranges::any_of(statistics.entries(), [&](const auto& entry) {
    return statistics.origin(entry.first) == calibrate::Origin::kRandom;
  });
  if (any_random && !*asked.allow_random)
    refuse_to_have(source, fmt::format("its statistics are of random rows, which say nothing of the model; "
                                       "record real ones, or add {}",
                                       asked.allow_random));
  if (!any_random) note_none_random(asked.allow_random, source);
  const Patched patched = patch_input_scales(checkpoint, statistics, *asked.percentile, output);
  if (!asked.json->empty()) safetensors::write_text_file(asked.json->string(), patched.scales_json);
  spdlog::info("Input scales for {} of {} quantized layers: {}", patched.scaled, patched.layers, output);
}

}  // namespace

void write_calibration(const CalibrationSettings& asked) {
  constexpr std::string_view kPrinted = "is for the program, which prints it";
  switch (mode_of(asked)) {
    case CalibrationMode::kGather: return gather(asked);
    case CalibrationMode::kMerge: return merge(asked);
    case CalibrationMode::kPatch: return patch(asked);
    case CalibrationMode::kList: refuse_to_have(asked.list, kPrinted);
    case CalibrationMode::kEnough: refuse_to_have(asked.enough, kPrinted);
  }
}

pipeline::Enough measure_enough(const CalibrationSettings& asked) {
  const std::string input = required(asked.input), path = required(asked.data);
  check_outputs("", asked, {input, path});
  const model::Checkpoint checkpoint = model::Checkpoint::open(input);
  if (const auto found = quantized::evidence(quantized::find_layers(checkpoint)); !found.empty())
    fail(ErrorCode::kBadInput,
         "argument {}: {}: is quantized already ('{}' {}); {} needs the model that it was made of",
         asked.input, input, printable(found.begin()->first), found.begin()->second, asked.enough);
  const auto recording = naming(asked.data, [&] { return calibrate::Recording::open(path, checkpoint); });
  pipeline::Enough enough = pipeline::measure_enough(checkpoint, recording);
  if (enough.points.empty())
    fail(ErrorCode::kFailure,
         "{}: no layer has rows of four pictures that are told apart; record them with tools/capture of this "
         "version",
         path);
  return enough;
}

CalibrationFile open_listed(const CalibrationSettings& asked) {
  CalibrationFile file = naming(asked.list, [&] { return CalibrationFile::open(asked.list->string()); });
  check_outputs("", asked, {asked.list->string()});
  return file;
}

}  // namespace ctq::engine
