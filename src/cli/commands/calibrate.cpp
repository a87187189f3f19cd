#include "commands.h"

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <optional>

#include <fmt/format.h>

#include "base/cancel.h"
#include "base/error.h"
#include "base/text.h"
#include "calibrate/calibration_file.h"
#include "calibrate/gather.h"
#include "calibrate/statistics_file.h"
#include "cli/command_input.h"
#include "cli/options/rows.h"
#include "ctq/engine/input_scale_patch.h"
#include "ctq/engine/output_path.h"
#include "model/checkpoint.h"
#include "report/calibration_report.h"
#include "safetensors/writer.h"

namespace ctq::cli {
namespace {

using calibrate::CalibrationFile;
using calibrate::StatisticsEntry;

enum class Mode : unsigned char { kGather, kList, kMerge, kPatch };

struct Asked {
  Setting<engine::Path> input{"input"};
  Setting<engine::Path> output{"output"};
  Setting<engine::Path> json{"json"};  ///< given without a path: in place of safetensors
  Setting<bool> quiet{"quiet"};
  Setting<engine::Path> list{"list"};
  Setting<std::vector<engine::Path>> merge{"merge"};
  Setting<bool> patch{"patch"};
  Setting<engine::Path> activations{"activations"};
  Setting<engine::Path> data{"calibration_data"};
  Setting<double> percentile{"percentile", 99.9};
  Setting<int64_t> samples{"samples", 64};
  Setting<engine::Path> lora{"lora"};
  Setting<int64_t> seed{"seed", 42};
  Setting<int64_t> rows{"rows"};
  Setting<bool> hessian{"hessian"};
  Setting<std::string> device{"device", "auto"};

  bool writes_json() const { return json.given() && json->empty(); }
  std::optional<int64_t> rows_to_keep() const { return rows.given() ? std::optional(*rows) : std::nullopt; }
  uint64_t seed_value() const { return static_cast<uint64_t>(*seed); }
};

Table make_table(Asked& asked) {
  Table table{
      .options = {},
      .words = "input",
      .usage =
          "usage: convert_to_quant calibrate MODEL -o OUT [--activations FILE | --lora FILE] [options]\n"
          "       convert_to_quant calibrate MODEL --patch --calibration-data FILE [-o OUT] [options]\n"
          "       convert_to_quant calibrate --merge FILE... -o OUT [--rows N | --hessian]\n"
          "       convert_to_quant calibrate --list FILE [--json]\n\n"
          "Statistics of what the layers of a model read, for --calibration-data of a conversion.\n"};
  add(table.options, Page::kStandard, "Input and output",
      {
          path(asked.input, "--input",
               "The model, a file, an index of shards or a folder; also without --input")
              .alias("-i"),
          path(asked.output, "--output", "File to write: .safetensors, or .json for statistics alone")
              .alias("-o")
              .otherwise("with --patch <input stem>_calibrated.safetensors, else required"),
          path(asked.json, "--json",
               "JSON in place of safetensors; --json=PATH writes the input scales alone there")
              .value_optional(),
          toggle(asked.quiet, "--quiet", "Print only warnings and errors").alias("-q"),
      });
  add(table.options, Page::kStandard, "Instead of statistics for a model",
      {
          path(asked.list, "--list", "Print what is in a calibration file"),
          paths(asked.merge, "--merge", "Join calibration files of one model, or rewrite one"),
          toggle(asked.patch, "--patch", "Copy a quantized model with input scales for its layers"),
      });
  add(table.options, Page::kStandard, "Where the statistics come from",
      {
          path(asked.activations, "--activations",
               "Rows that the layers have read: a calibration file, or one matrix per layer")
              .otherwise("random rows, which say nothing of the model"),
          path(asked.data, "--calibration-data", "With --patch: a calibration file, with rows or without"),
          number(asked.percentile, "--percentile",
                 "Percentile of the magnitudes that sets the input scale; 100 is the largest")
              .alias("--actcal-percentile")
              .above(0)
              .at_most(100),
          integer(asked.samples, "--samples", "Random rows per layer").at_least(1).at_most(1 << 20),
          path(asked.lora, "--lora", "Take the A matrices of this LoRA in place of random rows"),
          integer(asked.seed, "--seed", "Seed of random rows, and of the choice of rows")
              .at_least(0)
              .at_most(4294967295),
      });
  add(table.options, Page::kStandard, "What is written of recorded rows",
      {
          integer(asked.rows, "--rows", "Keep this many rows of each input, chosen evenly")
              .alias("--thin")
              .at_least(1)
              .otherwise("all"),
          toggle(asked.hessian, "--hessian", "Write X^T X / n in place of the rows X"),
          device(asked.device, "--device", "With --hessian: where to calculate: auto, cpu, cuda or cuda:N"),
      });
  add_help(table.options);
  return table;
}

using Settings = std::vector<const engine::AnySetting*>;

/// What is asked for, and the settings that belong to it.
struct ModeRow {
  Mode mode;
  const engine::AnySetting* by;  ///< that asks for it; null: nothing does
  bool asked;
  Settings uses;
};

std::vector<ModeRow> modes_of(const Asked& asked) {
  return {
      {Mode::kList, &asked.list, asked.list.given(), {&asked.list, &asked.json, &asked.quiet}},
      {Mode::kMerge,
       &asked.merge,
       asked.merge.given(),
       {&asked.merge, &asked.output, &asked.json, &asked.quiet, &asked.rows, &asked.seed, &asked.hessian}},
      {Mode::kPatch,
       &asked.patch,
       *asked.patch,
       {&asked.patch, &asked.input, &asked.output, &asked.json, &asked.quiet, &asked.activations, &asked.data,
        &asked.percentile}},
      {Mode::kGather,
       nullptr,
       false,
       {&asked.input, &asked.output, &asked.json, &asked.quiet, &asked.patch, &asked.activations,
        &asked.percentile, &asked.samples, &asked.seed, &asked.lora, &asked.rows, &asked.hessian,
        &asked.device}}};
}

/// throws  Error(kUsage) for two modes, and for a setting of another one
Mode mode_of(const Asked& asked) {
  const std::vector<ModeRow> rows = modes_of(asked);
  const ModeRow* chosen = &rows.back();
  for (const ModeRow& row : rows) {
    if (!row.asked) continue;
    if (chosen->asked) engine::refuse_to_have(*row.by, fmt::format("does not go with {}", *chosen->by));
    chosen = &row;
  }
  for (const ModeRow& row : rows) {
    for (const engine::AnySetting* setting : row.uses) {
      if (!setting->given() || std::ranges::find(chosen->uses, setting) != chosen->uses.end()) continue;
      engine::refuse_to_have(*setting, chosen->by ? fmt::format("does not go with {}", *chosen->by)
                                                  : fmt::format("goes with {}", asked.patch));
    }
  }
  return chosen->mode;
}

void refuse_together(const Settings& settings, std::string_view fact) {
  for (const engine::AnySetting* setting : settings) {
    if (setting->given()) engine::refuse_to_have(*setting, fact);
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
    engine::refuse(asked.output, "must end in .safetensors or .json", path);
  return path;
}

/// No output is an input, a directory or the other output.
void check_outputs(const std::string& output, const Asked& asked, const std::vector<std::string>& inputs) {
  const std::string scales = asked.json->string();
  for (const std::string& path : {output, scales}) {
    if (path.empty()) continue;
    for (const std::string& input : inputs)
      if (!input.empty()) engine::check_output_path(path, input, /*no_clobber=*/false);
  }
  if (!output.empty() && output == scales) engine::refuse(asked.json, "is the output file");
}

/// Names the setting whose file an error is about.
template <typename Open>
auto opened(const engine::AnySetting& setting, const Open& open) {
  try {
    return open();
  } catch (const Error& error) {
    fail(error.code(), "argument {}: {}", setting, error.what());
  }
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

void warn_of_unmatched(const CalibrationFile& file, const calibrate::MatchedLayers& matched) {
  if (matched.unmatched.empty()) return;
  warn("{}: {} of its layers, first '{}', are no 2-D weights of the model", file.path(),
       matched.unmatched.size(), printable(matched.unmatched.front()));
}

int gather_from_rows(const Asked& asked, const model::Checkpoint& checkpoint, const std::string& output) {
  const std::string path = asked.activations->string();
  const auto activations = opened(asked.activations, [&] { return CalibrationFile::open_activations(path); });
  const auto matched = opened(asked.activations, [&] { return activations.match(checkpoint); });
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
  return 0;
}

int gather_from_nothing(const Asked& asked, const model::Checkpoint& checkpoint, const std::string& output) {
  const calibrate::SyntheticOptions options{.samples = *asked.samples,
                                            .seed = asked.seed_value(),
                                            .percentile = *asked.percentile,
                                            .lora = asked.lora->string()};
  const auto gathered =
      options.lora.empty()
          ? calibrate::gather_synthetic(checkpoint, options)
          : opened(asked.lora, [&] { return calibrate::gather_synthetic(checkpoint, options); });
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
  return 0;
}

int gather(const Asked& asked) {
  required(asked.input);
  const std::string output = statistics_path(asked);
  if (asked.activations.given()) {
    refuse_together({&asked.samples, &asked.lora}, fmt::format("does not go with {}", asked.activations));
    if (*asked.hessian) refuse_together({&asked.rows}, fmt::format("does not go with {}", asked.hessian));
  } else {
    refuse_together({&asked.rows, &asked.hessian}, fmt::format("needs {}", asked.activations));
  }
  if (!*asked.hessian) refuse_together({&asked.device}, fmt::format("needs {}", asked.hessian));
  check_outputs(output, asked, {asked.input->string(), asked.activations->string(), asked.lora->string()});
  const model::Checkpoint checkpoint = model::Checkpoint::open(asked.input->string());
  if (!output.empty()) engine::check_output_is_no_input(output, checkpoint);
  return asked.activations.given() ? gather_from_rows(asked, checkpoint, output)
                                   : gather_from_nothing(asked, checkpoint, output);
}

int list(const Asked& asked) {
  const CalibrationFile file =
      opened(asked.list, [&] { return CalibrationFile::open(asked.list->string()); });
  check_outputs("", asked, {asked.list->string()});
  const std::string text = opened(asked.list, [&] {
    return asked.json.given() ? report::calibration_json(file) : report::calibration_table(file);
  });
  if (asked.json->empty()) {
    fmt::print("{}", text);
  } else {
    safetensors::write_text_file(asked.json->string(), text);
  }
  return 0;
}

void refuse_doubles(const engine::AnySetting& setting, const std::vector<std::string>& paths) {
  std::error_code error;
  for (auto path = paths.begin(); path != paths.end(); ++path) {
    const bool twice = std::any_of(paths.begin(), path, [&](const std::string& earlier) {
      return std::filesystem::equivalent(*path, earlier, error);
    });
    if (twice) engine::refuse(setting, "the same file stands twice", *path);
  }
}

int merge(const Asked& asked) {
  const std::string output = statistics_path(asked);
  if (*asked.hessian) refuse_together({&asked.rows}, fmt::format("does not go with {}", asked.hessian));
  const std::vector<std::string> paths = paths_of(asked.merge);
  refuse_doubles(asked.merge, paths);
  check_outputs(output, asked, paths);
  const calibrate::MergeOptions options{
      .rows = asked.rows_to_keep(), .seed = asked.seed_value(), .hessian = *asked.hessian};
  return opened(asked.merge, [&] {
    std::vector<CalibrationFile> files;
    for (const std::string& path : paths) files.push_back(CalibrationFile::open(path));
    const std::vector<StatisticsEntry> entries = calibrate::merge(files, options);
    write_results(entries, calibrate::merged_metadata(files, options), output, asked.json->string());
    return 0;
  });
}

int patch(const Asked& asked) {
  required(asked.input);
  const bool has_rows = asked.activations.given(), has_statistics = asked.data.given();
  if (has_rows && has_statistics)
    engine::refuse_to_have(asked.data, fmt::format("does not go with {}", asked.activations));
  if (!has_rows && !has_statistics)
    engine::refuse_to_have(asked.patch, fmt::format("needs {} or {}; an input scale is measured, not guessed",
                                                    asked.activations, asked.data));
  if (asked.writes_json())
    engine::refuse_to_have(
        asked.json, fmt::format("with {} needs a path, {}=PATH, for the scales", asked.patch, asked.json));
  const std::string input = asked.input->string();
  const std::string output =
      asked.output.given() ? asked.output->string() : engine::input_stem(input) + "_calibrated.safetensors";
  const Setting<engine::Path>& source = has_rows ? asked.activations : asked.data;
  const std::string path = source->string();
  check_outputs(output, asked, {input, path});
  const model::Checkpoint checkpoint = model::Checkpoint::open(input);
  engine::check_output_is_no_input(output, checkpoint);
  const CalibrationFile statistics = opened(source, [&] {
    return has_rows ? CalibrationFile::open_activations(path) : CalibrationFile::open(path);
  });
  const engine::Patched patched =
      engine::patch_input_scales(checkpoint, statistics, *asked.percentile, output);
  if (!asked.json->empty()) safetensors::write_text_file(asked.json->string(), patched.scales_json);
  spdlog::info("Input scales for {} of {} quantized layers: {}", patched.scaled, patched.layers, output);
  return 0;
}

}  // namespace

const Table& calibrate_table() { return shown_table(make_table); }

int run_calibrate(const std::vector<std::string>& args) {
  Asked asked;
  parse_into(asked, args, make_table);
  const Mode mode = mode_of(asked);
  start_log(*asked.quiet ? Verbosity::kMinimal : Verbosity::kNormal,
            /*notes_to_stderr=*/mode == Mode::kList);
  install_signal_handlers();
  switch (mode) {
    case Mode::kGather: return gather(asked);
    case Mode::kList: return list(asked);
    case Mode::kMerge: return merge(asked);
    case Mode::kPatch: return patch(asked);
  }
  return 0;
}

}  // namespace ctq::cli
