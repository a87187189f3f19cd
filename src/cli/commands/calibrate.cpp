#include "commands.h"

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <optional>

#include <fmt/format.h>

#include "calibrate_list.h"
#include "calibrate_patch.h"
#include "cli/command_input.h"
#include "cli/options/spelling.h"
#include "ctq/base/cancel.h"
#include "ctq/base/error.h"
#include "ctq/base/log.h"
#include "ctq/base/text.h"
#include "ctq/calibrate/calibration_file.h"
#include "ctq/calibrate/gather.h"
#include "ctq/calibrate/statistics_file.h"
#include "ctq/cli/arguments.h"
#include "ctq/cli/option_table.h"
#include "ctq/engine/output_path.h"
#include "ctq/model/checkpoint.h"
#include "ctq/safetensors/writer.h"

namespace ctq::cli {
namespace {

using calibrate::CalibrationFile;
using calibrate::StatisticsEntry;

enum class Mode : unsigned char { kGather, kList, kMerge, kPatch };

/// What is asked for, and the options that belong to it.
struct ModeRow {
  Mode mode;
  std::string_view name;
  std::vector<std::string_view> options;
};

const ModeRow& row_of(const Arguments& arguments) {
  static const std::vector<ModeRow> rows{
      {Mode::kList, "list", {"list", "json", "quiet"}},
      {Mode::kMerge, "merge", {"merge", "output", "json", "quiet", "rows", "seed", "hessian"}},
      {Mode::kPatch,
       "patch",
       {"patch", "input", "output", "json", "quiet", "activations", "calibration_data", "percentile"}},
      {Mode::kGather,
       "",
       {"input", "output", "json", "quiet", "patch", "activations", "percentile", "samples", "seed", "lora",
        "rows", "hessian", "device"}}};
  const ModeRow* chosen = nullptr;
  for (const ModeRow& row : rows) {
    const bool asked = row.mode == Mode::kGather  ? !chosen
                       : row.mode == Mode::kPatch ? arguments.flag("patch")
                                                  : arguments.given(row.name);
    if (!asked) continue;
    if (chosen) fail(ErrorCode::kUsage, "argument --{}: does not go with --{}", row.name, chosen->name);
    chosen = &row;
  }
  return *chosen;
}

void check_options(const Arguments& arguments, const ModeRow& row) {
  for (const Option& option : command_options("calibrate")->options) {
    const std::string key = option_key(option.name);
    if (!arguments.given(key) || std::ranges::find(row.options, key) != row.options.end()) continue;
    if (row.mode == Mode::kGather) fail(ErrorCode::kUsage, "argument {}: goes with --patch", option.name);
    fail(ErrorCode::kUsage, "argument {}: does not go with --{}", option.name, row.name);
  }
}

void require(const Arguments& arguments, std::string_view option) {
  if (!arguments.given(option)) fail(ErrorCode::kUsage, "argument --{}: is required", option);
}

void refuse_together(const Arguments& arguments, std::initializer_list<std::string_view> options,
                     std::string_view fact) {
  for (const std::string_view option : options) {
    if (arguments.given(option)) fail(ErrorCode::kUsage, "argument --{}: {}", option, fact);
  }
}

/// Path of --json=PATH; empty for --json and without it.
const std::string& scales_path(const Arguments& arguments) { return arguments.text("json"); }

bool writes_json(const Arguments& arguments) {
  return arguments.given("json") && scales_path(arguments).empty();
}

/// Where the statistics go; empty when only --json=PATH is written.
std::string statistics_path(const Arguments& arguments) {
  std::string path = arguments.text("output");
  if (path.empty()) {
    if (scales_path(arguments).empty()) require(arguments, "output");
    return path;
  }
  if (writes_json(arguments) && !path.ends_with(".json")) path += ".json";
  if (!path.ends_with(".json") && !path.ends_with(".safetensors")) {
    fail(ErrorCode::kUsage, "argument --output: must end in .safetensors or .json (got '{}')",
         printable(path));
  }
  return path;
}

/// No output is an input, a directory or the other output.
void check_outputs(const std::string& output, const std::string& scales,
                   const std::vector<std::string>& inputs) {
  for (const std::string& path : {output, scales}) {
    if (path.empty()) continue;
    for (const std::string& input : inputs)
      if (!input.empty()) engine::check_output_path(path, input, /*no_clobber=*/false);
  }
  if (!output.empty() && output == scales)
    fail(ErrorCode::kUsage, "argument --json: is the output file (got '{}')", printable(scales));
}

/// Names the option whose file an error is about.
template <typename Open>
auto opened(std::string_view option, const Open& open) {
  try {
    return open();
  } catch (const Error& error) {
    fail(error.code(), "argument --{}: {}", option, error.what());
  }
}

std::string file_name(const std::string& path) { return std::filesystem::path(path).filename().string(); }

std::optional<int64_t> rows_to_keep(const Arguments& arguments) {
  if (!arguments.given("rows")) return std::nullopt;
  return arguments.integer("rows");
}

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

int gather_from_rows(const Arguments& arguments, const model::Checkpoint& checkpoint,
                     const std::string& output) {
  const std::string path = arguments.text("activations");
  const auto activations = opened("activations", [&] { return CalibrationFile::open_activations(path); });
  const auto matched = opened("activations", [&] { return activations.match(checkpoint); });
  warn_of_unmatched(activations, matched);
  const calibrate::MeasuredOptions options{.percentile = arguments.number("percentile"),
                                           .rows = rows_to_keep(arguments),
                                           .seed = static_cast<uint64_t>(arguments.integer("seed")),
                                           .hessian = arguments.flag("hessian"),
                                           .device = device_of(arguments)};
  const auto entries = calibrate::gather_measured(activations, checkpoint, matched, options);
  safetensors::Metadata metadata{{"source", file_name(path)},
                                 {"model", file_name(checkpoint.path())},
                                 {"model_fingerprint", model::fingerprint(checkpoint)},
                                 {"percentile", arguments.text("percentile")}};
  if (const auto source = activations.metadata().find("source"); source != activations.metadata().end())
    metadata["source"] = source->second;
  if (options.rows) {
    metadata["rows"] = std::to_string(*options.rows);
    metadata["seed"] = std::to_string(options.seed);
  }
  write_results(entries, metadata, output, scales_path(arguments));
  return 0;
}

int gather_from_nothing(const Arguments& arguments, const model::Checkpoint& checkpoint,
                        const std::string& output) {
  const calibrate::SyntheticOptions options{.samples = arguments.integer("samples"),
                                            .seed = static_cast<uint64_t>(arguments.integer("seed")),
                                            .percentile = arguments.number("percentile"),
                                            .lora = arguments.text("lora")};
  const auto gathered =
      options.lora.empty() ? calibrate::gather_synthetic(checkpoint, options)
                           : opened("lora", [&] { return calibrate::gather_synthetic(checkpoint, options); });
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
      {"percentile", arguments.text("percentile")},
      {"samples", std::to_string(options.samples)},
      {"seed", std::to_string(options.seed)}};
  write_results(gathered.entries, metadata, output, scales_path(arguments));
  return 0;
}

int gather(const Arguments& arguments) {
  require(arguments, "input");
  const std::string output = statistics_path(arguments);
  if (arguments.given("activations")) {
    refuse_together(arguments, {"samples", "lora"}, "does not go with --activations");
    if (arguments.flag("hessian")) refuse_together(arguments, {"rows"}, "does not go with --hessian");
  } else {
    refuse_together(arguments, {"rows", "hessian"}, "needs --activations");
  }
  if (!arguments.flag("hessian")) refuse_together(arguments, {"device"}, "needs --hessian");
  check_outputs(output, scales_path(arguments),
                {arguments.text("input"), arguments.text("activations"), arguments.text("lora")});
  const model::Checkpoint checkpoint = model::Checkpoint::open(arguments.text("input"));
  if (!output.empty()) engine::check_output_is_no_input(output, checkpoint);
  return arguments.given("activations") ? gather_from_rows(arguments, checkpoint, output)
                                        : gather_from_nothing(arguments, checkpoint, output);
}

int list(const Arguments& arguments) {
  const CalibrationFile file = opened("list", [&] { return CalibrationFile::open(arguments.text("list")); });
  check_outputs("", scales_path(arguments), {arguments.text("list")});
  const std::string text = opened(
      "list", [&] { return arguments.given("json") ? calibration_json(file) : calibration_table(file); });
  if (scales_path(arguments).empty()) {
    fmt::print("{}", text);
  } else {
    safetensors::write_text_file(scales_path(arguments), text);
  }
  return 0;
}

void refuse_doubles(const std::vector<std::string>& paths) {
  std::error_code error;
  for (auto path = paths.begin(); path != paths.end(); ++path) {
    const bool twice = std::any_of(paths.begin(), path, [&](const std::string& earlier) {
      return std::filesystem::equivalent(*path, earlier, error);
    });
    if (twice)
      fail(ErrorCode::kUsage, "argument --merge: the same file stands twice (got '{}')", printable(*path));
  }
}

int merge(const Arguments& arguments) {
  const std::string output = statistics_path(arguments);
  if (arguments.flag("hessian")) refuse_together(arguments, {"rows"}, "does not go with --hessian");
  const std::vector<std::string>& paths = arguments.list("merge");
  refuse_doubles(paths);
  check_outputs(output, scales_path(arguments), paths);
  const calibrate::MergeOptions options{.rows = rows_to_keep(arguments),
                                        .seed = static_cast<uint64_t>(arguments.integer("seed")),
                                        .hessian = arguments.flag("hessian")};
  return opened("merge", [&] {
    std::vector<CalibrationFile> files;
    for (const std::string& path : paths) files.push_back(CalibrationFile::open(path));
    const std::vector<StatisticsEntry> entries = calibrate::merge(files, options);
    write_results(entries, calibrate::merged_metadata(files, options), output, scales_path(arguments));
    return 0;
  });
}

int patch(const Arguments& arguments) {
  require(arguments, "input");
  const bool has_rows = arguments.given("activations"), has_statistics = arguments.given("calibration_data");
  if (has_rows && has_statistics)
    fail(ErrorCode::kUsage, "argument --calibration-data: does not go with --activations");
  if (!has_rows && !has_statistics) {
    fail(ErrorCode::kUsage,
         "argument --patch: needs --activations or --calibration-data; an input scale is measured, not "
         "guessed");
  }
  if (writes_json(arguments))
    fail(ErrorCode::kUsage, "argument --json: with --patch needs a path, --json=PATH, for the scales");
  const std::string input = arguments.text("input");
  const std::string output = arguments.given("output")
                                 ? arguments.text("output")
                                 : engine::input_stem(input) + "_calibrated.safetensors";
  const std::string option = has_rows ? "activations" : "calibration-data";
  const std::string path = arguments.text(has_rows ? "activations" : "calibration_data");
  check_outputs(output, scales_path(arguments), {input, path});
  const model::Checkpoint checkpoint = model::Checkpoint::open(input);
  engine::check_output_is_no_input(output, checkpoint);
  const CalibrationFile statistics = opened(option, [&] {
    return has_rows ? CalibrationFile::open_activations(path) : CalibrationFile::open(path);
  });
  const Patched patched = patch_input_scales(checkpoint, statistics, arguments.number("percentile"), output);
  if (!scales_path(arguments).empty())
    safetensors::write_text_file(scales_path(arguments), patched.scales_json);
  spdlog::info("Input scales for {} of {} quantized layers: {}", patched.scaled, patched.layers, output);
  return 0;
}

}  // namespace

int run_calibrate(const std::vector<std::string>& args) {
  const Arguments arguments = Arguments::parse(args, *command_options("calibrate"));
  const ModeRow& row = row_of(arguments);
  check_options(arguments, row);
  start_log(arguments.flag("quiet") ? Verbosity::kMinimal : Verbosity::kNormal,
            /*notes_to_stderr=*/row.mode == Mode::kList);
  install_signal_handlers();
  switch (row.mode) {
    case Mode::kGather: return gather(arguments);
    case Mode::kList: return list(arguments);
    case Mode::kMerge: return merge(arguments);
    case Mode::kPatch: return patch(arguments);
  }
  return 0;
}

}  // namespace ctq::cli
