#include "engine/job.h"

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "engine/output_path.h"
#include "engine/parts.h"
#include "engine/unused.h"
#include "linalg/device.h"

namespace ctq::engine {
namespace {

/// The type of weights that stay unquantized.
void read_kept_type(const Output& output, plan::Options& options, Remarks remarks) {
  options.kept_type = plan::plain_type(*output.kept_type);
  if (!output.keep_type.given()) return;
  if (options.kept_type)
    options.keep_type = pattern_of(output.keep_type);
  else
    remarks.notes.push_back(fmt::format("{} has no effect without {}", output.keep_type, output.kept_type));
}

plan::Options plan_options(const Settings& settings, Remarks remarks) {
  const Layers& layers = settings.layers;
  const Output& output = settings.output;
  plan::Options options;
  options.target = read_target(settings, remarks);
  options.block_fallback = read_block_fallback(settings, options.target, remarks);
  options.heuristic = *layers.heuristic;
  options.presets = *layers.presets;
  options.filter_set = *layers.filter_set;
  if (layers.exclude.given()) options.exclude_layers = pattern_of(layers.exclude);
  read_custom_and_fallback(settings, options, remarks);
  options.by_family = *layers.by_family && options.presets.empty();
  options.client = client_of(output.client);
  if (output.comfy_layout.given() || *output.comfy_layout)
    options.layout = *output.comfy_layout ? format::Layout::kComfy : format::Layout::kLegacy;
  options.full_precision_matrix_mult = *output.full_precision_matrix_mult;
  options.save_quant_metadata = *output.save_quant_metadata;
  options.quantize_embeddings = *layers.embeddings;
  if (*layers.convolutions && options.target.codec) {
    if (options.target.codec->type != "fp8")
      refuse(layers.convolutions,
             fmt::format("goes with FP8, which is all that loaders read of a convolution; "
                         "the target is {}",
                         options.target.label()));
    options.quantize_convolutions = true;
  }
  options.allow_empty = *output.allow_empty;
  options.remove_ema = *settings.input.remove_ema;
  options.max_shard_bytes = *output.max_shard_bytes;
  read_kept_type(output, options, remarks);
  options.keep_containing = *layers.keep_containing;
  options.names_unused_words = layers.keep_containing.by_user() || layers.remove_containing.by_user();
  options.remove_containing = *layers.remove_containing;
  options.min_elements = *layers.min_elements;
  options.min_side = *layers.min_side;
  options.copy_weight_scales = *settings.target.copied_input_scales;
  options.scaled_fp8_elements = *settings.target.scaled_fp8_elements;
  return options;
}

std::optional<double> smoothquant_of(const Settings& settings, const plan::Target& target, Remarks remarks) {
  const Calibration& asked = settings.calibration;
  if (!*asked.smoothquant) {
    if (asked.smoothquant_alpha.given())
      remarks.notes.push_back(
          fmt::format("{} has no effect without {}", asked.smoothquant_alpha, asked.smoothquant));
    return std::nullopt;
  }
  const bool helped =
      target.codec && (target.codec->grid().code() == linalg::Code::kInt8 || target.codec->format == "nvfp4");
  if (!helped)
    refuse(asked.smoothquant,
           "helps where inputs are quantized to INT8 or NVFP4; the target is " + target.label());
  if (!asked.data.given())
    remarks.notes.push_back(fmt::format(
        "{} without {} takes the ranges of inputs that norms and weights imply; recorded ones serve "
        "a model better",
        asked.smoothquant, asked.data));
  for (const AnySetting* other :
       std::initializer_list<const AnySetting*>{&asked.static_activations, &asked.input_scales}) {
    if (other->given())
      refuse(asked.smoothquant, fmt::format("changes the inputs that {} has scales of", *other));
  }
  return *asked.smoothquant_alpha;
}

std::optional<pipeline::FormatGoal> goal_of(const Settings& settings, const plan::Target& target) {
  const Goal& asked = settings.goal;
  pipeline::FormatGoal goal;
  const auto check = [&](const auto& setting) {
    if (!target.codec) refuse(setting, "chooses between quantized formats; the target is float16");
    if (*settings.calibration.smoothquant)
      refuse(setting, fmt::format("does not go with {}, which changes the weights that are measured",
                                  settings.calibration.smoothquant));
  };
  if (asked.max_error.given()) {
    if (asked.target_bytes.given())
      refuse(asked.max_error, fmt::format("does not go with {}: one goal at a time", asked.target_bytes));
    check(asked.max_error);
    goal.max_error = *asked.max_error;
    return goal;
  }
  if (!asked.target_bytes.given()) return std::nullopt;
  check(asked.target_bytes);
  goal.target_bytes = *asked.target_bytes;
  return goal;
}

DryRun dry_run_of(const Settings& settings) {
  const Report& report = settings.report;
  const Setting<Path>& output = settings.output.path;
  if (!report.dry_run.given()) return DryRun::kNo;
  if (*report.dry_run != DryRun::kTemplate && !report.layer_template.given()) return DryRun::kAnalyze;
  if (!report.layer_template->empty() && output.given())
    refuse(report.layer_template, fmt::format("{} names the file already", output));
  const Path& path = output.given() ? *output : *report.layer_template;
  const std::string name = path.string();
  if (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json"))
    refuse(output, fmt::format("names the template of {} create-template, not a model", report.dry_run),
           name);
  std::error_code absent;
  if (settings.layers.config.given() && std::filesystem::equivalent(path, *settings.layers.config, absent))
    refuse(output, fmt::format("is the {} itself; choose another name", settings.layers.config), name);
  return DryRun::kTemplate;
}

/// The files of the report.
std::vector<std::string> reports_of(const Job& job) {
  const Setting<std::vector<Path>>& asked = job.settings.report.files;
  std::vector<std::string> reports = paths_of(asked);
  check_report_names(asked, reports, /*csv=*/!job.analysis.blocks);
  if (reports.empty()) return reports;
  if (job.dry_run == DryRun::kTemplate || job.analysis.errors || job.analysis.suggest)
    refuse(asked, fmt::format("goes with a conversion, the plan or {}", job.settings.report.blocks),
           reports.front());
  return reports;
}

/// Where none is given.
std::string output_name(const Job& job) {
  if (!job.merging.only_to.empty()) return job.merging.only_to;
  const Path& named = *job.settings.report.layer_template;
  if (job.dry_run == DryRun::kTemplate)
    return named.empty() ? input_stem(job.input) + "_layer_config_template.json" : named.string();
  const optimize::Optimizer* of_target = job.plan.target.optimizer;
  return derived_output(job.input, job.plan, of_target ? *of_target : *job.run.optimizer.optimizer);
}

void read_names(Job& job) {
  const auto& client = job.plan.client;
  const bool diffusers = client && client->program == client::Program::kDiffusers;
  job.names = job.settings.input.names->value_or(diffusers ? Names::kKept : Names::kComfyUi);
}

/// What is reported, and notes about what would not be.
void read_quality(Job& job) {
  const Report& report = job.settings.report;
  job.strict = *report.strict;
  job.threshold_is_binding = *report.threshold_fails;
  job.report_quality = *report.quality || !report.quality_json->empty() || job.threshold_is_binding;
  if (!job.plan.target.codec && !has_other_targets(job.settings)) {
    constexpr std::string_view kNone = "measures quantized layers; float16 has none";
    if (report.quality_json.given()) refuse(report.quality_json, kNone);
    if (*report.threshold_fails) refuse(report.threshold_fails, kNone);
    if (*report.quality) job.notes.push_back(fmt::format("{} {}", report.quality, kNone));
    job.report_quality = job.threshold_is_binding = false;
  }
  if (!job.report_quality && !job.analysis.suggest)
    Unused(Remarks(job)).note({&report.threshold_db}, fmt::format("without {}", report.quality));
  if (job.settings.layers.filter_set.given() && job.plan.presets.empty())
    job.notes.push_back(fmt::format("{} has no effect without a preset", job.settings.layers.filter_set));
}

void check_input_scales(const Setting<Path>& setting) {
  const std::string file = setting->string();
  if (!file.empty() && !file.ends_with(".json") && !file.ends_with(".safetensors"))
    refuse(setting, "must be a .json or a .safetensors file");
}

/// Device, threads and memory.
void read_compute(Job& job) {
  const Compute& compute = job.settings.compute;
  job.run.device = device_of(compute.device);
  job.process.threads = static_cast<int>(*compute.threads);
  read_memory(job);
  read_bf16(job);
}

}  // namespace

std::optional<client::Client> client_of(const Setting<std::string>& setting) {
  if (!setting.given()) return std::nullopt;
  return naming(setting, [&] { return client::parse_client(*setting); });
}

std::string required(const Setting<Path>& setting) {
  if (!setting.given()) refuse_to_have(setting, "is required");
  return setting->string();
}

std::vector<std::string> paths_of(const Setting<std::vector<Path>>& setting) {
  std::vector<std::string> paths;
  for (const Path& path : *setting) paths.push_back(path.string());
  return paths;
}

at::Device device_of(const Setting<std::string>& setting) {
  return linalg::open_device(*setting == "auto" ? "cpu" : *setting);
}

void check_report_names(const AnySetting& setting, const std::vector<std::string>& paths, bool csv) {
  for (const std::string& path : paths) {
    if (path.ends_with(".html") || path.ends_with(".json") || (csv && path.ends_with(".csv"))) continue;
    refuse(setting, fmt::format("the name must end in .html{} or .json", csv ? ", .csv" : ""), path);
  }
}

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

Job prepare(const Settings& settings) {
  Job job;
  job.settings = settings;
  const Remarks remarks(job);
  if (settings.input.path->empty()) refuse_to_have(settings.input.path, "is required");
  job.input = settings.input.path->string();
  job.plan = plan_options(settings, remarks);
  job.dry_run = dry_run_of(settings);
  job.analysis = read_analysis(settings, job.plan.target);
  job.reports = reports_of(job);
  if (*settings.report.json && job.dry_run != DryRun::kAnalyze)
    refuse(settings.report.json, fmt::format("goes with {} analyze; for the quality figures use {}",
                                             settings.report.dry_run, settings.report.quality_json));
  read_names(job);
  check_input_scales(settings.calibration.input_scales);
  read_quality(job);
  read_compute(job);
  read_layer_config(settings, job.plan, remarks);
  read_rounding(job);
  job.run.smoothquant_alpha = smoothquant_of(settings, job.plan.target, remarks);
  job.goal = goal_of(settings, job.plan.target);
  job.merging = read_merging(settings, remarks);
  job.output = settings.output.path->empty() ? output_name(job) : settings.output.path->string();
  read_extraction(job);
  read_partition(job);
  note_unread(job);
  job.run.output = job.output;
  job.run.strict = job.strict;
  job.run.measure_quality = job.report_quality || !job.reports.empty();
  job.run.count_values =
      std::ranges::any_of(job.reports, [](const std::string& path) { return !path.ends_with(".csv"); });
  return job;
}

}  // namespace ctq::engine
