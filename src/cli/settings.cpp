#include "settings.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "ctq/base/error.h"
#include "ctq/linalg/device.h"

namespace ctq::cli {
namespace {

using format::Granularity;

[[noreturn]] void refuse(std::string_view option, std::string_view fact, std::string_view value) {
  fail(ErrorCode::kUsage, "argument --{}: {} (got '{}')", option, fact, value);
}

/// Format and granularity that are asked for, before they are known to go together.
struct Choice {
  std::string family;       ///< "int8", "fp8" or "fp16"
  std::string format_name;  ///< of --format; empty otherwise
  std::string scaling;      ///< of --scaling_mode; empty when not given
};

Choice read_choice(const Arguments& arguments) {
  Choice choice{.family = "int8", .format_name = arguments.text("format"), .scaling = ""};
  std::string given;
  for (const std::string_view family : {"int8", "fp8", "fp16"}) {
    if (!arguments.given(family) || !arguments.flag(family)) continue;
    if (!given.empty()) refuse(family, "only one target format can be chosen", "--" + given);
    given = choice.family = family;
  }
  if (!choice.format_name.empty()) {
    if (!given.empty())
      refuse("format", "names the target; it does not go with --" + given, choice.format_name);
    choice.family = choice.format_name.starts_with("int8") ? "int8" : "fp8";
  } else if (given.empty() && arguments.given("int8")) {
    refuse("int8", "is off, and no other target format is chosen; add --fp8 or --fp16", "false");
  }
  if (arguments.given("scaling_mode")) choice.scaling = arguments.text("scaling_mode");
  return choice;
}

Granularity granularity_of(const std::string& scaling) {
  if (scaling == "block" || scaling == "block2d") return Granularity::kBlock;
  if (scaling == "block3d") return Granularity::kBlock3d;
  if (scaling == "tensor") return Granularity::kTensor;
  return Granularity::kRow;
}

/// The codec of --int8 or --fp8 with a scaling mode (docs/cli.md, "--scaling_mode").
const format::Codec* codec_of_family(const std::string& family, const std::string& scaling) {
  const bool int8 = family == "int8";
  if (int8 && scaling == "block3d")
    refuse("scaling_mode", "block3d is a layout of FP8; INT8 has block, axis, row and tensor", scaling);
  switch (granularity_of(scaling)) {
    case Granularity::kTensor:
      return format::find_codec(int8 ? "int8_tensorwise" : "float8_e4m3fn", Granularity::kTensor);
    case Granularity::kBlock:
      return format::find_codec(int8 ? "int8_blockwise" : "float8_e4m3fn_blockwise", Granularity::kBlock);
    case Granularity::kBlock3d: return format::find_codec("float8_e4m3fn_block3d", Granularity::kBlock3d);
    case Granularity::kRow: break;
  }
  if (!int8) return format::find_codec("float8_e4m3fn_rowwise", Granularity::kRow);
  return format::find_codec(scaling == "axis" ? "int8_axiswise" : "int8_tensorwise", Granularity::kRow);
}

/// The codec that --format names. A name that stands for two (int8_tensorwise) takes the one with a scale per
/// row, which is better.
const format::Codec* codec_of_name(const std::string& name, const std::string& scaling) {
  const format::Codec* found = nullptr;
  for (const format::Codec& codec : format::registry()) {
    if (codec.format != name || (!scaling.empty() && codec.granularity != granularity_of(scaling))) continue;
    if (!found || codec.granularity == Granularity::kRow) found = &codec;
  }
  if (!found) refuse("scaling_mode", "does not go with --format " + name, scaling);
  return found;
}

plan::Target read_target(const Arguments& arguments, std::vector<std::string>& notes) {
  const Choice choice = read_choice(arguments);
  plan::Target target;
  if (choice.family == "fp16") {
    for (const std::string_view option : {"scaling_mode", "block_size", "full_precision_matrix_mult"}) {
      if (arguments.given(option)) notes.push_back(fmt::format("--{} has no effect with --fp16", option));
    }
    return target;
  }
  if (!choice.format_name.empty()) {
    target.codec = codec_of_name(choice.format_name, choice.scaling);
  } else {
    // The seed's default for INT8, the peer's for FP8.
    const std::string fallback = choice.family == "int8" ? "block" : "tensor";
    target.codec = codec_of_family(choice.family, choice.scaling.empty() ? fallback : choice.scaling);
  }
  if (target.codec->has_blocks()) {
    target.block_size = arguments.integer("block_size");
  } else if (arguments.given("block_size")) {
    notes.push_back(fmt::format("--block_size has no effect: {} has no blocks", target.codec->label()));
  }
  return target;
}

plan::BlockFallback read_block_fallback(const Arguments& arguments, const plan::Target& target,
                                        std::vector<std::string>& notes) {
  const std::string& word = arguments.text("block_fallback");
  if (word == "pad") {
    refuse("block-fallback",
           "no reader of the block formats of this version knows partial blocks; use row, skip or error",
           word);
  }
  if (arguments.given("block_fallback") && target.block_size == 0) {
    notes.push_back("--block-fallback has no effect: the target has no blocks");
  }
  return word == "row"    ? plan::BlockFallback::kRow
         : word == "skip" ? plan::BlockFallback::kSkip
                          : plan::BlockFallback::kError;
}

FILE* const kProgressStream = stderr;

ProgressMode read_progress(const Arguments& arguments) {
  const std::string& word = arguments.text("progress");
  if (word == "bar") return ProgressMode::kBar;
  if (word == "plain") return ProgressMode::kPlain;
  if (word == "json") return ProgressMode::kJson;
  if (word == "none") return ProgressMode::kNone;
  return isatty(fileno(kProgressStream)) ? ProgressMode::kBar : ProgressMode::kPlain;
}

Verbosity read_verbosity(const Arguments& arguments) {
  const std::string& word = arguments.text("verbose");
  if (word == "MINIMAL") return Verbosity::kMinimal;
  if (word == "VERBOSE") return Verbosity::kVerbose;
  if (word == "DEBUG") return Verbosity::kDebug;
  return Verbosity::kNormal;
}

plan::Options read_plan_options(const Arguments& arguments, std::vector<std::string>& notes) {
  plan::Options options;
  options.target = read_target(arguments, notes);
  options.block_fallback = read_block_fallback(arguments, options.target, notes);
  options.heuristic = arguments.flag("heur");
  for (const plan::Preset& preset : plan::presets()) {
    if (arguments.flag(preset.name)) options.presets.emplace_back(preset.name);
  }
  const std::string& set = arguments.text("filter_set");
  options.filter_set = set == "peer"    ? plan::FilterSet::kPeer
                       : set == "union" ? plan::FilterSet::kUnion
                                        : plan::FilterSet::kSeed;
  if (arguments.given("exclude_layers")) {
    try {
      options.exclude_layers.emplace(arguments.text("exclude_layers"));
    } catch (const Error& error) {
      fail(ErrorCode::kUsage, "argument --exclude-layers: {}", error.what());
    }
  }
  if (arguments.given("comfy_quant")) {
    options.layout = arguments.flag("comfy_quant") ? format::Layout::kComfy : format::Layout::kLegacy;
  }
  options.full_precision_matrix_mult = arguments.flag("full_precision_matrix_mult");
  options.save_quant_metadata = arguments.flag("save_quant_metadata");
  options.allow_empty = arguments.flag("allow_empty");
  options.max_shard_bytes = arguments.bytes("max_shard_size");
  return options;
}

pipeline::RunOptions read_run_options(const Arguments& arguments, std::vector<std::string>& notes) {
  pipeline::RunOptions run;
  const bool low_memory = arguments.flag("low_memory");
  if (low_memory) run.byte_budget = 0;
  linalg::use_huge_pages();
  // Rounding to nearest is bound by memory: `auto` stays on the CPU, where the data are. Optimizers will
  // choose otherwise.
  const std::string& device = arguments.text("device");
  run.device = linalg::open_device(device == "auto" ? "cpu" : device);
  linalg::set_threads(arguments.given("threads") ? static_cast<int>(arguments.integer("threads"))
                                                 : linalg::available_cores());
  if (low_memory && run.device.is_cuda())
    notes.push_back("--low-memory streams tensors one by one, but stays on the GPU that was named");
  return run;
}

}  // namespace

std::string derived_output(const std::string& input, const plan::Options& options) {
  std::filesystem::path path(input);
  std::string name = path.filename().string();
  if (name.empty()) path = path.parent_path(), name = path.filename().string();  // "folder/"
  for (const std::string_view suffix : {".safetensors.index.json", ".safetensors"}) {
    if (name.ends_with(suffix)) {
      name.resize(name.size() - suffix.size());
      break;
    }
  }
  const format::Codec* codec = options.target.codec;
  const bool int8 = codec && codec->grid().code() == linalg::Code::kInt8;
  name += "_simple_";
  name += !codec ? "fp16" : int8 ? "int8" : "fp8";
  if (!options.presets.empty()) name += "mixed";
  if (codec && int8) {
    name += codec->format == "int8_axiswise" ? "_axiswise"
            : codec->has_blocks()            ? fmt::format("_bs{}", options.target.block_size)
            : codec->granularity == format::Granularity::kRow ? "_rowwise"
                                                              : "_tensorwise";
  } else if (codec) {
    name += codec->grid().code() == linalg::Code::kE5M2 ? "_e5m2_" : "_";
    name += format::granularity_name(codec->granularity);
  }
  return (path.parent_path() / (name + ".safetensors")).string();
}

Settings make_settings(const Arguments& arguments) {
  Settings settings;
  if (!arguments.given("input")) fail(ErrorCode::kUsage, "argument --input: is required");
  settings.input = arguments.text("input");
  settings.plan = read_plan_options(arguments, settings.notes);
  settings.output =
      arguments.given("output") ? arguments.text("output") : derived_output(settings.input, settings.plan);
  settings.dry_run = arguments.given("dry_run") && arguments.text("dry_run") != "";
  settings.json = arguments.flag("json");
  if (settings.json && !settings.dry_run)
    refuse("json", "goes with --dry-run; for the quality figures use --quality-json", "true");
  settings.no_clobber = arguments.flag("no_clobber");
  settings.strict = arguments.flag("strict");
  settings.quality_json = arguments.text("quality_json");
  settings.report_quality = arguments.flag("report_quality") || !settings.quality_json.empty();
  settings.quality_threshold_db = arguments.number("quality_threshold");
  settings.threshold_is_binding = settings.report_quality && arguments.given("quality_threshold");
  if (arguments.given("quality_threshold") && !settings.report_quality) {
    settings.notes.push_back("--quality-threshold has no effect without --report-quality");
  }
  if (settings.report_quality && !settings.plan.target.codec) {
    settings.notes.push_back("--report-quality measures quantized layers; --fp16 has none");
  }
  if (arguments.given("filter_set") && settings.plan.presets.empty()) {
    settings.notes.push_back("--filter-set has no effect without a preset");
  }
  settings.progress = read_progress(arguments);
  settings.verbosity = read_verbosity(arguments);
  settings.run = read_run_options(arguments, settings.notes);
  settings.run.output = settings.output;
  settings.run.strict = settings.strict;
  settings.run.measure_quality = settings.report_quality;
  return settings;
}

}  // namespace ctq::cli
