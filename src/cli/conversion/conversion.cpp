#include "conversion.h"

#include <algorithm>
#include <exception>
#include <optional>

#include <fmt/format.h>

#include "calibration_inputs.h"
#include "cli/commands/block_analysis.h"
#include "cli/commands/lora_extraction.h"
#include "cli/output_path.h"
#include "conversion.h"
#include "ctq/base/cancel.h"
#include "ctq/base/error.h"
#include "ctq/base/terminal.h"
#include "ctq/base/text.h"
#include "ctq/cli/arguments.h"
#include "ctq/pipeline/format_errors.h"
#include "ctq/pipeline/layer_methods.h"
#include "ctq/plan/blocks.h"
#include "ctq/plan/template.h"
#include "ctq/report/conversion_report.h"
#include "ctq/report/format_errors_report.h"
#include "ctq/report/plan_report.h"
#include "ctq/report/quality_report.h"
#include "ctq/report/run_summary.h"
#include "ctq/rewrite/plain.h"
#include "ctq/safetensors/writer.h"
#include "decoded_input.h"
#include "input_kind.h"
#include "lora_merging.h"
#include "measured_formats.h"
#include "progress.h"
#include "renamed_input.h"
#include "resume_key.h"
#include "settings.h"

namespace ctq::cli {
namespace {

void print_remarks(const plan::Plan& plan, const Settings& settings) {
  for (const std::string& note : settings.notes) spdlog::info("note: {}", note);
  for (const std::string& note : plan.notes) spdlog::info("note: {}", note);
  if (!plan.suggested_preset.empty()) {
    spdlog::info("note: the tensor names look like --{}, which keeps its sensitive layers; it was not given",
                 plan.suggested_preset);
  }
  for (const std::string& sentence : settings.warnings) warn("{}", sentence);
  for (const std::string& sentence : plan.warnings) warn("{}", sentence);
  for (const std::string& sentence : plan.unused) warn("{}", sentence);
  if (settings.strict && !plan.unused.empty())
    fail(ErrorCode::kFailure, "{} (--strict)", plan.unused.front());
}

/// The model that is converted: as it is stored, decoded with --requantize, under ComfyUI's names, with the
/// LoRAs merged.
class Input {
 public:
  explicit Input(const Settings& settings) : stored_(model::Checkpoint::open(settings.input)) {
    check_output_is_no_input(settings.output, stored_);
    check_input_kind(stored_, settings.plan.presets);
    if (settings.requantize) decoded_.emplace(stored_);
    renamed_.emplace(decoded_ ? decoded_->view.checkpoint() : stored_, settings.names);
    if (settings.merging.files.empty()) return;
    const bool verbose = settings.dry_run != DryRun::kNo || settings.verbosity >= Verbosity::kVerbose;
    merged_.emplace(unmerged(), settings.merging, settings.strict, verbose);
  }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  const model::Checkpoint& checkpoint() const { return merged_ ? merged_->view().checkpoint() : unmerged(); }
  std::vector<std::string> files() const { return stored_.files(); }
  /// Null where there are no LoRAs.
  const lora::MergedView* merged() const { return merged_ ? &merged_->view() : nullptr; }

 private:
  const model::Checkpoint& unmerged() const {
    if (renamed_ && renamed_->view()) return renamed_->view()->checkpoint();
    return decoded_ ? decoded_->view.checkpoint() : stored_;
  }

  const model::Checkpoint stored_;
  std::optional<const DecodedInput> decoded_;
  std::optional<const RenamedInput> renamed_;
  std::optional<const MergedInput> merged_;
};

/// Says what the plan decided before the work begins, then follows the work.
class Followed final : public pipeline::Events {
 public:
  Followed(const Settings& settings, const model::Checkpoint& checkpoint)
      : settings_(settings),
        checkpoint_(checkpoint),
        methods_(checkpoint, settings.run.optimizer, settings.run.recording, settings.run.lora),
        progress_(settings.progress) {}

  void started(const plan::Plan& plan, const pipeline::RunOptions& run) override {
    print_remarks(plan, settings_);
    if (const std::string chosen = methods_.summary(plan); !chosen.empty()) spdlog::info(chosen);
    if (const std::string smoothed = smoothing_words(checkpoint_, plan, settings_); !smoothed.empty())
      spdlog::info(smoothed);
    progress_.started(plan, run);
  }
  void resumed(const pipeline::Resumed& resumed) override { progress_.resumed(resumed); }
  void ranked(const pipeline::Ranked& ranked) override { progress_.ranked(ranked); }
  void tensor_done(const pipeline::TensorDone& done) override { progress_.tensor_done(done); }
  void restarted(const plan::ValueFindings& findings) override { progress_.restarted(findings); }

 private:
  const Settings& settings_;
  const model::Checkpoint& checkpoint_;
  pipeline::LayerMethods methods_;
  Progress progress_;
};

int write_template(const plan::Plan& plan, const Settings& settings) {
  safetensors::write_text_file(settings.output, plan::template_json(plan, settings.plan));
  const size_t changed = plan.count(plan::Decision::kQuantize) + plan.count(plan::Decision::kCast);
  const auto candidates = std::ranges::count(plan.tensors, true, &plan::TensorPlan::candidate);
  fmt::print("Template: {} ({} layers to quantize, {} to keep; edit it and give it to --layer-config)\n",
             settings.output, changed, static_cast<size_t>(candidates) - changed);
  return 0;
}

/// What --error and --suggest print.
void print_formats(const plan::Plan& plan, const model::Checkpoint& checkpoint, const Settings& settings) {
  const auto layers = pipeline::measure_formats(plan, settings.analysis.formats);
  if (settings.analysis.errors) {
    fmt::print("{}",
               settings.json ? report::format_errors_json(layers) : report::format_errors_table(layers));
    return;
  }
  plan::Options options = settings.plan;
  options.allow_empty = true;
  options.measured = pipeline::smallest_formats(layers, settings.quality_threshold_db);
  fmt::print("{}", plan::template_json(plan::make_plan(checkpoint, options, ""), options));
}

/// The files of --report, each in the form of its suffix.
template <typename Html, typename Csv, typename Json>
void write_reports(const Settings& settings, const Html& html, const Csv& csv, const Json& json) {
  for (const std::string& path : settings.reports)
    safetensors::write_text_file(path, path.ends_with(".csv")    ? csv()
                                       : path.ends_with(".html") ? html()
                                                                 : json());
}

int dry_run(const Input& input, const Settings& settings) {
  const model::Checkpoint& checkpoint = input.checkpoint();
  if (settings.analysis.blocks) {
    report_blocks(checkpoint, plan::find_blocks(checkpoint), /*keep=*/std::nullopt,
                  {.reports = settings.reports, .json = "", .print_json = settings.json});
    return 0;
  }
  const std::string name = settings.output.substr(settings.output.rfind('/') + 1);
  const plan::Plan plan = plan::make_plan(checkpoint, settings.plan, name);
  print_remarks(plan, settings);
  if (const std::string smoothed = smoothing_words(checkpoint, plan, settings); !smoothed.empty())
    spdlog::info("note: {}", smoothed);
  if (settings.dry_run == DryRun::kTemplate) return write_template(plan, settings);
  if (settings.analysis.errors || settings.analysis.suggest) {
    print_formats(plan, checkpoint, settings);
    return 0;
  }
  const report::PlanNames names{.input = settings.input,
                                .output = settings.output,
                                .fingerprint = model::fingerprint(checkpoint),
                                .merged = input.merged() ? &input.merged()->changed() : nullptr};
  const pipeline::LayerMethods methods(checkpoint, settings.run.optimizer, settings.run.recording,
                                       settings.run.lora);
  fmt::print("{}", settings.json ? report::plan_json(plan, names, methods)
                                 : report::plan_table(plan, names, methods));
  write_reports(
      settings, [&] { return report::plan_html(plan, names, methods); },
      [&] { return report::plan_csv(plan, names, methods); },
      [&] { return report::plan_json(plan, names, methods); });
  return 0;
}

/// --lora-only-to.
int write_merged(const model::Checkpoint& checkpoint, const Settings& settings) {
  for (const std::string& note : settings.notes) spdlog::info("note: {}", note);
  const rewrite::Written written = rewrite::write_plain(checkpoint, settings.output);
  fmt::print("Merged, not quantized: {} ({} tensors changed, {} copied)\n", settings.output, written.computed,
             written.copied);
  return 0;
}

void check_output_paths(const Settings& settings) {
  check_output_path(settings.output, settings.input, settings.no_clobber);
  for (const MergeOptions::File& file : settings.merging.files)
    check_output_path(settings.output, file.path, settings.no_clobber);
  for (const std::string& path : settings.reports) {
    check_output_path(path, settings.input, /*no_clobber=*/false);
    if (path == settings.output)
      fail(ErrorCode::kUsage, "argument --report: is the output file (got '{}')", path);
  }
  if (settings.extraction) check_output_path(settings.lora_output, settings.input, settings.no_clobber);
}

int report_quality(const pipeline::Result& result, const Settings& settings) {
  const double threshold = settings.quality_threshold_db;
  fmt::print("\n{}", report::quality_table(result, threshold));
  if (!settings.quality_json.empty()) {
    safetensors::write_text_file(settings.quality_json, report::quality_json(result, threshold));
  }
  const auto summary = report::summarize(result.quality, result.findings.size(), threshold);
  if (summary.below_threshold == 0) return 0;
  warn("{} of {} layers are below {:.1f} dB", summary.below_threshold, summary.layers, threshold);
  return settings.threshold_is_binding ? static_cast<int>(ErrorCode::kQuality) : 0;
}

}  // namespace

int run_conversion(Settings settings, const Arguments& arguments) {
  start_log(settings.verbosity, /*notes_to_stderr=*/settings.json || settings.analysis.suggest);
  install_signal_handlers();

  check_output_paths(settings);
  spdlog::info("Processing: {}", settings.input);
  const Input input(settings);
  const model::Checkpoint& checkpoint = input.checkpoint();
  if (!settings.merging.only_to.empty()) return write_merged(checkpoint, settings);
  const auto recording = open_recording(checkpoint, settings);
  settings.run.recording = recording ? &*recording : nullptr;
  const auto lora = open_lora(checkpoint, settings);
  settings.run.lora = lora ? &*lora : nullptr;
  settings.plan.input_scales =
      find_input_scales(settings.input_scales, checkpoint, settings.run.recording, settings.warnings);
  if (settings.goal) choose_by_measurement(checkpoint, settings);
  choose_input_factors(checkpoint, settings);
  if (settings.dry_run != DryRun::kNo) return dry_run(input, settings);

  if (settings.run.partition)
    settings.run.partition->run = partition_run(arguments, settings, checkpoint, input.files());
  if (arguments.flag("resume"))
    settings.run.resume = resume_key(arguments, settings, checkpoint, input.files());
  spdlog::info("Output will be saved to: {}", settings.output);
  spdlog::info("Target format: {}, on {}", settings.plan.target.label(), settings.run.device.str());
  pipeline::Result result;
  {
    if (const auto& partition = settings.run.partition)
      spdlog::info("part {} of {}", partition->part, partition->parts);
    Followed events(settings, checkpoint);
    result = pipeline::convert(checkpoint, settings.plan, settings.run, events);
  }
  fmt::print("{}", report::run_summary(result, Paint(stdout)));
  if (settings.extraction)
    extract_lora(settings.input, result.written, *settings.extraction, settings.lora_output);
  write_reports(
      settings, [&] { return report::conversion_html(result, settings.input); },
      [&] { return report::conversion_csv(result); },
      [&] { return report::conversion_json(result, settings.input); });
  return settings.report_quality ? report_quality(result, settings) : 0;
}

}  // namespace ctq::cli
