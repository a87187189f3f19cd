#include "conversion.h"

#include <unistd.h>

#include <algorithm>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/terminal.h"
#include "base/text.h"
#include "cli/commands/block_analysis.h"
#include "cli/commands/lora_extraction.h"
#include "cli/options/arguments.h"
#include "cli/options/config_file.h"
#include "cli/options/profiles.h"
#include "conversion_options.h"
#include "engine/conversion.h"
#include "plan/blocks.h"
#include "report/conversion_report.h"
#include "report/format_errors_report.h"
#include "report/plan_report.h"
#include "report/quality_report.h"
#include "report/run_summary.h"
#include "safetensors/writer.h"

namespace ctq::cli {
namespace {

using engine::Console;
using engine::Conversion;
using engine::DryRun;
using engine::Job;
using engine::LogLevel;

void print_advice(const engine::Advice& advice) {
  for (const std::string& note : advice.notes) spdlog::info("note: {}", note);
  if (!advice.suggested_preset.empty()) {
    spdlog::info("note: the tensor names look like --{}, which keeps its sensitive layers; it was not given",
                 advice.suggested_preset);
  }
  for (const std::string& sentence : advice.warnings) warn("{}", sentence);
}

/// The size of what will be written, and who will load it.
void say_what_will_be(const engine::PlanSummary& plan) {
  spdlog::info("{} of {} tensors become {}; {} -> {}, for {}",
               plan.quantized > 0 ? plan.quantized : plan.cast, plan.tensors,
               plan.quantized > 0 ? "quantized weights" : "float16", human_bytes(plan.bytes_in),
               human_bytes(plan.bytes_out), plan.loader);
}

/// Says what the plan decided before the work begins, then follows the work.
class Followed final : public engine::Events {
 public:
  explicit Followed(ProgressMode mode) : progress_(mode) {}

  void measured(const engine::LayerMeasured& layer) override {
    std::vector<std::string> words;
    for (const engine::LayerMeasured::Format& format : layer.formats)
      words.push_back(fmt::format("{} {:.4g}", format.label, format.error));
    spdlog::info("({}/{}) Measured: {}: {}", layer.index, layer.count, printable(layer.tensor),
                 fmt::join(words, ", "));
  }
  void started(const engine::PlanSummary& plan) override {
    say_what_will_be(plan);
    print_advice(plan.advice);
    for (const engine::TensorReason& gone : plan.removed)
      spdlog::info("Removing tensor: {} (Reason: {})", printable(gone.tensor), gone.reason);
    if (!plan.methods.empty()) spdlog::info(plan.methods);
    if (!plan.smoothing.empty()) spdlog::info(plan.smoothing);
    progress_.started(plan);
  }
  void resumed(const engine::Resumed& resumed) override { progress_.resumed(resumed); }
  void ranked(const engine::Ranked& ranked) override { progress_.ranked(ranked); }
  void tensor_done(const engine::TensorDone& done) override { progress_.tensor_done(done); }
  void restarted(const std::vector<engine::TensorReason>& unfit) override { progress_.restarted(unfit); }
  void finished() { progress_.finished(); }

 private:
  Progress progress_;
};

void print_merged(const Conversion& conversion) {
  if (!conversion.merged()) return;
  for (const auto& [tensor, layers] : conversion.merged()->changed())
    spdlog::info("LoRA: {} <- {}", printable(tensor), printable(fmt::format("{}", fmt::join(layers, ", "))));
}

int write_template(const plan::Plan& plan, const Conversion& conversion) {
  const std::string& output = conversion.job().output;
  safetensors::write_text_file(output, conversion.layer_template(plan));
  size_t changed = 0, kept = 0;
  for (const plan::TensorPlan& tensor : plan.tensors) {
    if (!tensor.candidate) continue;
    ++(tensor.decision == plan::Decision::kKeep || tensor.recast ? kept : changed);
  }
  fmt::print("Template: {} ({} layers to quantize, {} to keep; edit it and give it to --layer-config)\n",
             output, changed, kept);
  return 0;
}

/// What --error and --suggest print.
void print_formats(const plan::Plan& plan, const Conversion& conversion) {
  const auto layers = conversion.measure_formats(plan);
  if (!conversion.job().analysis.errors) {
    fmt::print("{}", conversion.suggested_template(layers));
  } else {
    fmt::print("{}", *conversion.job().settings.report.json ? report::format_errors_json(layers)
                                                            : report::format_errors_table(layers));
  }
}

/// The files of --report, each in the form of its suffix.
template <typename Html, typename Csv, typename Json>
void write_reports(const Job& job, const Html& html, const Csv& csv, const Json& json) {
  for (const std::string& path : job.reports)
    safetensors::write_text_file(path, path.ends_with(".csv")    ? csv()
                                       : path.ends_with(".html") ? html()
                                                                 : json());
}

int dry_run(const Conversion& conversion) {
  const Job& job = conversion.job();
  const model::Checkpoint& checkpoint = conversion.checkpoint();
  const bool json = *job.settings.report.json;
  if (job.analysis.blocks) {
    print_advice(conversion.advice({}));
    report_blocks(checkpoint, plan::find_blocks(checkpoint), /*keep=*/std::nullopt,
                  {.reports = job.reports, .json = "", .print_json = json});
    return 0;
  }
  const plan::Plan plan = conversion.plan();
  engine::Advice advice = conversion.advice(plan);
  const std::string smoothed = conversion.smoothing_words(plan, advice.warnings);
  print_advice(advice);
  conversion.refuse_unused(plan);
  if (!smoothed.empty()) spdlog::info("note: {}", smoothed);
  if (job.dry_run == DryRun::kTemplate) return write_template(plan, conversion);
  if (job.analysis.errors || job.analysis.suggest) {
    print_formats(plan, conversion);
    return 0;
  }
  const report::PlanNames names{.input = job.input,
                                .output = job.output,
                                .fingerprint = model::fingerprint(checkpoint),
                                .merged = conversion.merged() ? &conversion.merged()->changed() : nullptr};
  const pipeline::LayerMethods methods = conversion.methods();
  fmt::print("{}", json ? report::plan_json(plan, names, methods) : report::plan_table(plan, names, methods));
  write_reports(
      job, [&] { return report::plan_html(plan, names, methods); },
      [&] { return report::plan_csv(plan, names, methods); },
      [&] { return report::plan_json(plan, names, methods); });
  return 0;
}

/// --lora-only-to.
int write_merged(const Conversion& conversion) {
  print_advice(conversion.advice({}));
  const rewrite::Written written = conversion.write_merged();
  fmt::print("Merged, not quantized: {} ({} tensors changed, {} copied)\n", conversion.job().output,
             written.computed, written.copied);
  return 0;
}

int report_quality(const pipeline::Result& result, const Job& job) {
  const double threshold = *job.settings.report.threshold_db;
  fmt::print("\n{}", report::quality_table(result, threshold));
  if (const engine::Path& json = *job.settings.report.quality_json; !json.empty())
    safetensors::write_text_file(json.string(), report::quality_json(result, threshold));
  const auto summary = report::summarize(result.quality, result.findings.size(), threshold);
  if (summary.below_threshold == 0) return 0;
  warn("{} of {} layers are below {:.1f} dB", summary.below_threshold, summary.layers, threshold);
  return job.threshold_is_binding ? static_cast<int>(ErrorCode::kQuality) : 0;
}

int convert(Conversion& conversion, Followed& events) {
  const Job& job = conversion.job();
  spdlog::info("Output will be saved to: {}", job.output);
  spdlog::info("Target format: {}, on {}", job.plan.target.label(), job.run.device.str());
  if (const auto& partition = job.run.partition)
    spdlog::info("part {} of {}", partition->part, partition->parts);
  const pipeline::Result result = conversion.run(events);
  events.finished();
  fmt::print("{}", report::run_summary(result, Paint(stdout)));
  if (job.extraction) print_extracted(conversion.extract(result.written), job.lora_output);
  write_reports(
      job, [&] { return report::conversion_html(result, job.input); },
      [&] { return report::conversion_csv(result); },
      [&] { return report::conversion_json(result, job.input); });
  const int code = job.report_quality ? report_quality(result, job) : 0;
  if (!job.run.partition) fmt::print("{}", report::closing_line(result, job.input));
  return code;
}

LogLevel level_of(std::string_view verbosity) {
  if (verbosity == "MINIMAL") return LogLevel::kWarning;
  if (verbosity == "VERBOSE") return LogLevel::kDetail;
  return verbosity == "DEBUG" ? LogLevel::kTrace : LogLevel::kNote;
}

/// What belongs to a mode switch, which would have led to a command of its own.
void refuse_mode_options(const Arguments& arguments) {
  for (const Option& option : arguments.options()) {
    if (option.page != Page::kModes || !arguments.given(option.key())) continue;
    if (option.name == "--full-precision-mm")
      fail(ErrorCode::kUsage, "argument {}: goes with --convert-fp8-scaled", option.name);
    if (option.kind != Kind::kSwitch)
      fail(ErrorCode::kUsage, "argument {}: goes with a mode switch such as --edit-quant (see -hm)",
           option.name);
  }
}

/// Says what --profile changes here, or that it changes nothing.
void note_profile(const Arguments& arguments, const ConversionOptions& options,
                  std::vector<std::string>& notes) {
  const engine::Setting<std::string>& profile = options.own.profile;
  const engine::Settings& settings = options.settings;
  if (!profile.by_user()) return;
  const auto no_effect = [&](std::string_view why) {
    notes.push_back(fmt::format("{} {} has no effect: {}", profile, *profile, why));
  };
  if (const std::string_view why = why_nothing_is_rounded(settings); !why.empty()) return no_effect(why);
  const bool others = engine::has_other_targets(settings);
  if (*settings.target.type == "fp16" && settings.target.format->empty() && !others)
    return no_effect("the target is float16");
  const std::vector<std::string> effective =
      effective_defaults(arguments, /*learns=*/(*settings.rounding.optimizer)->learner || others);
  if (effective.empty()) return no_effect("what it sets is chosen otherwise, or of learned rounding");
  notes.push_back(fmt::format("{} {} sets {}", profile, *profile, fmt::join(effective, ", ")));
}

/// The job of options that are filled in.
Job job_of(const Arguments& arguments, ConversionOptions& options) {
  std::vector<std::string> notes, warnings;
  take_own(options, notes, warnings);
  note_profile(arguments, options, notes);
  Job job = engine::prepare(options.settings);
  job.notes.insert(job.notes.begin(), notes.begin(), notes.end());
  job.warnings.insert(job.warnings.begin(), warnings.begin(), warnings.end());
  return job;
}

}  // namespace

ProgressMode progress_mode(std::string_view word) {
  if (word == "bar") return ProgressMode::kBar;
  if (word == "plain") return ProgressMode::kPlain;
  if (word == "json") return ProgressMode::kJson;
  if (word == "none") return ProgressMode::kNone;
  return isatty(fileno(stderr)) ? ProgressMode::kBar : ProgressMode::kPlain;
}

Job make_job(const std::vector<std::string>& args) {
  ConversionOptions options;
  const Table table = make_conversion_table(options);
  const Arguments arguments = Arguments::parse(args, table);
  refuse_mode_options(arguments);
  arguments.fill();
  return job_of(arguments, options);
}

int run_conversion(Job job, const Telling& telling) {
  const bool prints_json = *job.settings.report.json || job.analysis.suggest;
  engine::Session session({.console = prints_json ? Console::kAllToStderr : Console::kNotesToStdout,
                           .least = telling.least,
                           .handle_signals = true});
  spdlog::info("Processing: {}", job.input);
  Conversion conversion(session, std::move(job));
  const bool dry = conversion.job().dry_run != DryRun::kNo;
  if (dry || telling.least <= LogLevel::kDetail) print_merged(conversion);
  if (!conversion.job().merging.only_to.empty()) return write_merged(conversion);
  Followed events(telling.progress);
  if (!conversion.job().analysis.blocks) conversion.gather(events);
  return dry ? dry_run(conversion) : convert(conversion, events);
}

int run_convert(const std::vector<std::string>& args) {
  ConversionOptions options;
  const Table table = make_conversion_table(options);
  const Arguments arguments = Arguments::parse(args, table);
  if (arguments.flag("print_config")) return fmt::print("{}", config_text(arguments)), 0;
  refuse_mode_options(arguments);
  arguments.fill();
  return run_conversion(job_of(arguments, options), {.least = level_of(*options.own.verbose),
                                                     .progress = progress_mode(*options.own.progress)});
}

}  // namespace ctq::cli
