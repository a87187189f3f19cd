#include "settings.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>

#include "cli/client_option.h"
#include "cli/command_input.h"
#include "cli/commands/block_analysis.h"
#include "cli/commands/lora_extraction.h"
#include "cli/options/spelling.h"
#include "cli/output_path.h"
#include "ctq/base/error.h"
#include "ctq/base/text.h"
#include "ctq/cli/option_table.h"
#include "ctq/linalg/device.h"
#include "memory_settings.h"
#include "optimizer_settings.h"
#include "partition.h"
#include "routing_settings.h"

namespace ctq::cli {
namespace {

[[noreturn]] void refuse(std::string_view option, std::string_view fact, std::string_view value) {
  fail(ErrorCode::kUsage, "argument --{}: {} (got '{}')", option, fact, value);
}

/// Format and granularity that are asked for, before they are known to go together.
struct Choice {
  std::string family;        ///< "int8", "fp8", "fp16", "nvfp4" or "mxfp8"; empty with --format
  std::string format_name;   ///< of --format; empty otherwise
  std::string scaling;       ///< of --scaling_mode; empty when not given
  bool transformed = false;  ///< as QuIP rotates it
};

constexpr std::array<std::string_view, 5> kFamilies = {"int8", "fp8", "fp16", "nvfp4", "mxfp8"};

/// What the defaults of a profile or a recipe name, where the command line names nothing.
std::string standard_family(const Arguments& arguments) {
  for (const std::string_view family : {"fp8", "nvfp4", "mxfp8"}) {
    if (arguments.flag(family)) return std::string(family);
  }
  return "int8";
}

/// What QuIP's own options say of the layout.
void read_quip_layout(const Arguments& arguments, Choice& choice) {
  const bool transformed = arguments.flag("quip_store_transformed");
  for (const std::string_view option : {"quip_requant_scheme", "quip_requant_tensor_per_row"}) {
    if (arguments.given(option) && !choice.scaling.empty())
      refuse(option, "does not go with --scaling_mode " + choice.scaling, arguments.text(option));
  }
  if (transformed) {
    if (choice.family != "int8" || !choice.format_name.empty() || !choice.scaling.empty())
      refuse("quip-store-transformed", "is a layout of INT8 of its own, with one scale per row", "true");
    if (!arguments.flag("quip_hadamard"))
      refuse("quip-store-transformed", "needs --quip-hadamard: no loader is told dense matrices", "true");
    choice.transformed = true;
  } else if (choice.family == "int8" && choice.format_name.empty() && choice.scaling.empty()) {
    choice.scaling = arguments.text("quip_requant_scheme") == "block" ? "block"
                     : arguments.flag("quip_requant_tensor_per_row")  ? "row"
                                                                      : "tensor";
  }
}

Choice read_choice(const Arguments& arguments) {
  Choice choice{.family = standard_family(arguments), .format_name = arguments.text("format"), .scaling = ""};
  const std::string& recipe = arguments.text("recipe");
  const auto by_recipe = [&](std::string_view option) {
    return arguments.chosen(option) && !arguments.given(option);
  };
  const bool names_target = by_recipe("format") || std::ranges::any_of(kFamilies, by_recipe);
  const auto refuse_recipe = [&](std::string_view option) {
    if (names_target && arguments.given(option))
      refuse("recipe", fmt::format("names the target; it does not go with --{}", option), recipe);
  };
  for (const std::string_view family : kFamilies) refuse_recipe(family);
  refuse_recipe("format");
  std::string given;
  for (const std::string_view family : kFamilies) {
    if (!arguments.given(family) || !arguments.flag(family)) continue;
    if (!given.empty()) refuse(family, "only one target format can be chosen", "--" + given);
    given = choice.family = family;
  }
  if (!choice.format_name.empty()) {
    if (!given.empty())
      refuse("format", "names the target; it does not go with --" + given, choice.format_name);
    choice.family.clear();
  } else if (given.empty() && arguments.given("int8")) {
    refuse("int8", "is off, and no other target format is chosen; add --fp8 or --fp16", "false");
  }
  if (arguments.chosen("scaling_mode")) choice.scaling = arguments.text("scaling_mode");
  if (arguments.text("optimizer") == "quip") read_quip_layout(arguments, choice);
  return choice;
}

/// --convrot and its companions.
void read_rotation(const Arguments& arguments, plan::Target& target, std::vector<std::string>& notes) {
  const bool dynamic = arguments.flag("dynamic_convrot");
  const bool always = target.codec->rotation == format::Rotation::kAlways;
  if (always && arguments.given("convrot") && !arguments.flag("convrot"))
    refuse("convrot", fmt::format("cannot be off: {} is always rotated", target.codec->format), "false");
  if (!arguments.flag("convrot") && !dynamic && !always) {
    if (arguments.given("convrot_group_size"))
      notes.emplace_back("--convrot-group-size has no effect without --convrot");
    return;
  }
  if (!plan::takes_rotation(*target.codec)) {
    // A recipe's rotation gives way to a scaling mode that cannot hold it.
    if (!dynamic && !arguments.given("convrot")) return;
    refuse(dynamic ? "dynamic-convrot" : "convrot",
           "goes with INT8 and a scale per row (--int8 --scaling_mode row); the target is " + target.label(),
           "true");
  }
  target.rotation_group = arguments.integer("convrot_group_size");
  target.dynamic_rotation = dynamic;
}

/// What products of convrot_w4a4 are done in.
format::LinearDtype read_linear_dtype(const Arguments& arguments, const plan::Target& target) {
  if (!arguments.given("linear_dtype")) return format::LinearDtype::kInt4;
  const std::string& word = arguments.text("linear_dtype");
  if (!target.codec || !plan::takes_linear_dtype(*target.codec))
    refuse("linear-dtype",
           "goes with --format convrot_w4a4 alone (single layers: linear_dtype in --layer-config); the "
           "target is " +
               target.label(),
           word);
  return word == "int8" ? format::LinearDtype::kInt8 : format::LinearDtype::kInt4;
}

plan::Target read_target(const Arguments& arguments, std::vector<std::string>& notes) {
  const Choice choice = read_choice(arguments);
  const bool alone = !has_other_targets(arguments);
  plan::Target target;
  if (choice.family == "fp16") {
    read_linear_dtype(arguments, target);
    if (arguments.flag("convrot") || arguments.flag("dynamic_convrot"))
      refuse("convrot", "goes with INT8 and a scale per row; the target is float16", "true");
    for (const std::string_view option : {"scaling_mode", "block_size", "full_precision_matrix_mult"}) {
      if (alone && arguments.given(option))
        notes.push_back(fmt::format("--{} has no effect with --fp16", option));
    }
    return target;
  }
  if (choice.transformed) {
    target.codec = &format::quip_codec();
  } else if (!choice.format_name.empty()) {
    target.codec = plan::codec_of_format(choice.format_name, choice.scaling);
    if (!target.codec)
      refuse("scaling_mode", "does not go with --format " + choice.format_name, choice.scaling);
  } else {
    target.codec = plan::codec_of_type(choice.family, choice.scaling);
    if (!target.codec)
      refuse("scaling_mode",
             choice.family == "int8" ? "block3d is a layout of FP8; INT8 has block, axis, row and tensor"
                                     : "does not go with --" + choice.family,
             choice.scaling);
  }
  read_rotation(arguments, target, notes);
  target.linear_dtype = read_linear_dtype(arguments, target);
  if (target.codec->has_blocks()) {
    target.block_size = arguments.integer("block_size");
  } else if (alone && arguments.given("block_size") && target.codec->group > 0) {
    refuse("block_size",
           fmt::format("does not go with {}, whose groups are of {} columns", target.codec->format,
                       target.codec->group),
           arguments.text("block_size"));
  } else if (alone && arguments.given("block_size")) {
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
  const bool fits_all = target.block_size == 0 && (!target.codec || target.codec->width_multiple == 1);
  if (arguments.given("block_fallback") && fits_all && !has_other_targets(arguments)) {
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

plan::Options read_plan_options(const Arguments& arguments, std::vector<std::string>& notes,
                                std::vector<std::string>& warnings) {
  plan::Options options;
  options.target = read_target(arguments, notes);
  options.block_fallback = read_block_fallback(arguments, options.target, notes);
  options.heuristic = arguments.flag("heur");
  for (const families::Preset* preset : families::presets()) {
    if (arguments.flag(preset->name)) options.presets.emplace_back(preset->name);
  }
  const std::string& set = arguments.text("filter_set");
  options.filter_set = set == "peer"    ? families::FilterSet::kPeer
                       : set == "union" ? families::FilterSet::kUnion
                                        : families::FilterSet::kSeed;
  if (arguments.given("exclude_layers")) {
    try {
      options.exclude_layers.emplace(arguments.text("exclude_layers"));
    } catch (const Error& error) {
      fail(ErrorCode::kUsage, "argument --exclude-layers: {}", error.what());
    }
  }
  read_custom_and_fallback(arguments, options, notes, warnings);
  options.by_family = arguments.given("recipe") && options.presets.empty();
  if (arguments.given("client")) options.client = read_client(arguments);
  if (arguments.chosen("comfy_quant")) {
    options.layout = arguments.flag("comfy_quant") ? format::Layout::kComfy : format::Layout::kLegacy;
  }
  options.full_precision_matrix_mult = arguments.flag("full_precision_matrix_mult");
  options.save_quant_metadata = arguments.flag("save_quant_metadata");
  options.quantize_embeddings = arguments.flag("quantize_embeddings");
  options.allow_empty = arguments.flag("allow_empty");
  options.remove_ema = arguments.flag("remove_ema");
  options.max_shard_bytes = arguments.bytes("max_shard_size");
  return options;
}

pipeline::RunOptions read_run_options(const Arguments& arguments, std::vector<std::string>& notes,
                                      std::vector<std::string>& warnings) {
  pipeline::RunOptions run;
  arguments.bytes("max_memory") > 0 ? linalg::return_freed_memory() : linalg::use_huge_pages();
  run.device = device_of(arguments);
  linalg::set_threads(arguments.integer("threads") > 0 ? static_cast<int>(arguments.integer("threads"))
                                                       : linalg::available_cores());
  read_memory(arguments, run, notes, warnings);
  read_bf16(arguments, run.device, notes);
  return run;
}

std::optional<double> read_smoothquant(const Arguments& arguments, const plan::Target& target,
                                       std::vector<std::string>& notes) {
  if (!arguments.flag("smoothquant")) {
    if (arguments.given("smoothquant_alpha"))
      notes.emplace_back("--smoothquant-alpha has no effect without --smoothquant");
    return std::nullopt;
  }
  const bool helped =
      target.codec && (target.codec->grid().code() == linalg::Code::kInt8 || target.codec->format == "nvfp4");
  if (!helped)
    refuse("smoothquant",
           "helps where inputs are quantized to INT8 or NVFP4; the target is " + target.label(), "true");
  if (!arguments.given("calibration_data"))
    refuse("smoothquant",
           "needs the largest inputs that were recorded (--calibration-data); factors without them make a "
           "model worse",
           "true");
  for (const std::string_view option : {"static_activations", "input_scales"}) {
    if (arguments.given(option))
      refuse("smoothquant", fmt::format("changes the inputs that --{} has scales of", option), "true");
  }
  return arguments.number("smoothquant_alpha");
}

std::optional<pipeline::FormatGoal> read_goal(const Arguments& arguments, const plan::Options& plan) {
  const bool error = arguments.given("max_error"), size = arguments.given("target_size");
  if (!error && !size) return std::nullopt;
  const std::string_view option = error ? "max-error" : "target-size";
  const std::string& value = arguments.text(error ? "max_error" : "target_size");
  if (error && size) refuse(option, "does not go with --target-size: one goal at a time", value);
  if (!plan.target.codec) refuse(option, "chooses between quantized formats; the target is float16", value);
  if (arguments.flag("smoothquant"))
    refuse(option, "does not go with --smoothquant, which changes the weights that are measured", value);
  pipeline::FormatGoal goal;
  if (error) goal.max_error = arguments.number("max_error");
  if (size) goal.target_bytes = arguments.bytes("target_size");
  return goal;
}

DryRun read_dry_run(const Arguments& arguments) {
  if (!arguments.given("dry_run")) return DryRun::kNo;
  if (arguments.text("dry_run") != "create-template" && !arguments.given("template")) return DryRun::kAnalyze;
  if (!arguments.text("template").empty() && arguments.given("output"))
    refuse("template", "--output names the file already", arguments.text("template"));
  const std::string& output = arguments.text(arguments.given("output") ? "output" : "template");
  if (output.ends_with(".safetensors") || output.ends_with(".safetensors.index.json"))
    refuse("output", "names the template of --dry-run create-template, not a model", output);
  std::error_code absent;
  if (arguments.given("layer_config") &&
      std::filesystem::equivalent(output, arguments.text("layer_config"), absent))
    refuse("output", "is the --layer-config itself; choose another name", output);
  return DryRun::kTemplate;
}

/// What belongs to a mode switch, which would have led to a command of its own.
void refuse_mode_options(const Arguments& arguments) {
  for (const Option& option : option_table()) {
    const bool of_a_mode = option.page == Page::kModes && option.available && option.kind != Kind::kSwitch;
    if (of_a_mode && arguments.given(option_key(option.name)))
      fail(ErrorCode::kUsage, "argument {}: goes with a mode switch such as --edit-quant (see -hm)",
           option.name);
  }
  if (arguments.flag("full_precision_mm"))
    fail(ErrorCode::kUsage, "argument --full-precision-mm: goes with --convert-fp8-scaled");
}

/// --extract-lora and the options that go with it.
void read_lora(const Arguments& arguments, Settings& settings) {
  if (!arguments.flag("extract_lora")) {
    for (const Option& option : option_table()) {
      if (option.page == Page::kLora && option.available && arguments.given(option_key(option.name)) &&
          option.name != "--extract-lora")
        fail(ErrorCode::kUsage, "argument {}: needs --extract-lora", option.name);
    }
    return;
  }
  if (!settings.merging.files.empty())
    refuse(
        "extract-lora",
        "compares with the model as it was; write the merged one first (--lora-only-to), then convert that",
        "true");
  if (arguments.flag("smoothquant"))
    refuse("extract-lora",
           "does not go with --smoothquant: weights whose factors are folded are not those of the original "
           "model",
           "true");
  settings.extraction = read_extraction(arguments);
  settings.lora_output =
      arguments.given("lora_output") ? arguments.text("lora_output") : lora_output_name(settings.output);
  if (settings.lora_output == settings.output)
    refuse("lora-output", "is the output file; choose another name", settings.lora_output);
}

/// Where no --output is given.
std::string output_name(const Arguments& arguments, const Settings& settings) {
  if (!settings.merging.only_to.empty()) return settings.merging.only_to;
  const std::string& named = arguments.text("template");
  if (settings.dry_run == DryRun::kTemplate && !named.empty()) return named;
  return settings.dry_run == DryRun::kTemplate
             ? input_stem(settings.input) + "_layer_config_template.json"
             : derived_output(settings.input, settings.plan,
                              *(settings.plan.target.optimizer ? settings.plan.target.optimizer
                                                               : settings.run.optimizer.optimizer));
}

std::vector<std::string> reports_of(const Arguments& arguments, const Settings& settings) {
  const AnalyzeOptions& analysis = settings.analysis;
  std::vector<std::string> reports = read_reports(arguments, /*csv=*/!analysis.blocks);
  if (reports.empty()) return reports;
  if (settings.dry_run == DryRun::kTemplate || analysis.errors || analysis.suggest)
    refuse("report", "goes with a conversion, the plan or --blocks", printable(reports.front()));
  return reports;
}

}  // namespace

std::string derived_output(const std::string& input, const plan::Options& options,
                           const optimize::Optimizer& optimizer) {
  std::string name = input_stem(input);
  const format::Codec* codec = options.target.codec;
  name += !codec || &optimizer == &optimize::kNearest ? "_simple_"
          : optimizer.learner                         ? "_learned_"
                                                      : fmt::format("_{}_", optimizer.name);
  name += codec ? codec->type : "fp16";
  const bool other_targets = options.custom || options.layer_config || options.fallback;
  const bool scaled_one_way = codec && codec->type != "int8" && codec->type != "fp8";
  if (scaled_one_way && other_targets) {
    name += "_mixed";
  } else if (!options.presets.empty() || options.custom || options.layer_config) {
    name += "mixed";
  }
  if (!codec || scaled_one_way) return name + ".safetensors";
  if (codec->type == "int8") {
    name += codec->format == "int8_axiswise" ? "_axiswise"
            : codec->has_blocks()            ? fmt::format("_bs{}", options.target.block_size)
            : codec->granularity == format::Granularity::kRow ? "_rowwise"
                                                              : "_tensorwise";
  } else {
    name += codec->grid().code() == linalg::Code::kE5M2 ? "_e5m2_" : "_";
    name += format::granularity_name(codec->granularity);
  }
  return name + ".safetensors";
}

Settings make_settings(const Arguments& arguments) {
  Settings settings;
  refuse_mode_options(arguments);
  if (!arguments.given("input")) fail(ErrorCode::kUsage, "argument --input: is required");
  settings.input = arguments.text("input");
  settings.plan = read_plan_options(arguments, settings.notes, settings.warnings);
  settings.dry_run = read_dry_run(arguments);
  settings.analysis = read_analyze_options(arguments, settings.plan.target);
  settings.reports = reports_of(arguments, settings);
  settings.json = arguments.flag("json");
  if (settings.json && settings.dry_run != DryRun::kAnalyze)
    refuse("json", "goes with --dry-run analyze; for the quality figures use --quality-json", "true");
  settings.no_clobber = arguments.flag("no_clobber");
  settings.strict = arguments.flag("strict");
  settings.requantize = arguments.flag("requantize");
  settings.names = read_names(arguments, settings.plan.client);
  settings.calibration_data = arguments.text("calibration_data");
  settings.calibration_lora = arguments.text("calibration_lora");
  settings.input_scales = read_input_scale_options(arguments);
  settings.quality_json = arguments.text("quality_json");
  settings.report_quality = arguments.flag("report_quality") || !settings.quality_json.empty();
  settings.quality_threshold_db = arguments.number("quality_threshold");
  settings.threshold_is_binding = settings.report_quality && arguments.given("quality_threshold");
  if (arguments.given("quality_threshold") && !settings.report_quality && !settings.analysis.suggest) {
    settings.notes.push_back("--quality-threshold has no effect without --report-quality");
  }
  if (settings.report_quality && !settings.plan.target.codec && !has_other_targets(arguments)) {
    settings.notes.push_back("--report-quality measures quantized layers; --fp16 has none");
  }
  if (arguments.given("filter_set") && settings.plan.presets.empty()) {
    settings.notes.push_back("--filter-set has no effect without a preset");
  }
  settings.progress = read_progress(arguments);
  settings.verbosity = read_verbosity(arguments);
  settings.run = read_run_options(arguments, settings.notes, settings.warnings);
  read_layer_config(arguments, settings.plan, settings.notes);
  read_optimizer(arguments, settings.plan, settings.run, settings.notes, settings.warnings);
  settings.run.smoothquant_alpha = read_smoothquant(arguments, settings.plan.target, settings.notes);
  settings.goal = read_goal(arguments, settings.plan);
  settings.merging = read_merging(arguments, settings.notes);
  settings.output = arguments.given("output") ? arguments.text("output") : output_name(arguments, settings);
  read_lora(arguments, settings);
  read_partition(arguments, settings);
  settings.run.output = settings.output;
  settings.run.strict = settings.strict;
  settings.run.measure_quality = settings.report_quality || !settings.reports.empty();
  settings.run.count_values =
      std::ranges::any_of(settings.reports, [](const std::string& path) { return !path.ends_with(".csv"); });
  return settings;
}

}  // namespace ctq::cli
