#include "engine/conversion.h"

#include <map>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/followed.h"
#include "engine/inputs.h"
#include "engine/opened_file.h"
#include "engine/output_path.h"
#include "engine/recordings.h"
#include "engine/resume_key.h"
#include "engine/rounding_notes.h"
#include "pipeline/input_factors.h"
#include "plan/template.h"
#include "transform/smoothing.h"

namespace ctq::engine {

Conversion::Conversion(Session& session, Job job) : job_(std::move(job)) {
  session.set_up(job_.process);
  check_outputs();
  input_ = std::make_unique<const ConvertedInput>(job_);
}

Conversion::~Conversion() = default;

const model::Checkpoint& Conversion::checkpoint() const { return input_->checkpoint(); }

const lora::MergedView* Conversion::merged() const { return input_->merged(); }

void Conversion::check_outputs() const {
  const Setting<bool>& no_clobber = job_.settings.output.no_clobber;
  check_output_path(job_.output, job_.input, no_clobber);
  for (const Merging::File& file : job_.merging.files) check_output_path(job_.output, file.path, no_clobber);
  for (const std::string& path : job_.reports) {
    check_output_path(path, job_.input);
    if (path == job_.output) refuse(job_.settings.report.files, "is the output file", path);
  }
  if (job_.extraction) check_output_path(job_.lora_output, job_.input, no_clobber);
}

rewrite::Written Conversion::write_merged() const { return rewrite::write_plain(checkpoint(), job_.output); }

void Conversion::gather(Events& events) {
  recording_ = open_recording(checkpoint(), job_);
  lora_ = open_lora(checkpoint(), job_);
  job_.run.recording = recording_.get();
  job_.run.lora = lora_.get();
  job_.plan.input_scales =
      find_input_scales(job_.settings.calibration, checkpoint(), recording_.get(), job_.warnings);
  if (job_.goal) choose_by_measurement(events);
  if (job_.run.smoothquant_alpha) choose_input_factors();
}

void Conversion::choose_by_measurement(Events& events) {
  Followed followed(*this, events);
  const pipeline::FormatChoice choice =
      pipeline::choose_formats(checkpoint(), job_.plan, job_.run, *job_.goal, followed);
  std::map<std::string, size_t> counts;
  for (const auto& [name, measured] : choice.chosen)
    ++counts[measured.target ? measured.target->label() : "kept as they are"];
  std::vector<std::string> words;
  for (const auto& [format, count] : counts) words.push_back(fmt::format("{} {}", count, format));
  spdlog::info("Formats by measurement: {}; largest error {:.4g} ({})", fmt::join(words, ", "),
               choice.largest_error, printable(choice.largest_error_of));
  job_.plan.measured = choice.chosen;
}

void Conversion::choose_input_factors() {
  pipeline::InputFactorChoice choice = pipeline::choose_input_factors(checkpoint(), job_.plan, job_.run);
  const AnySetting& setting = job_.settings.calibration.smoothquant;
  if (choice.unread > 0)
    spdlog::info("note: {}: {}; nvfp4 layers that stay as they are: {}", setting, choice.obstacle,
                 choice.unread);
  if (choice.unmeasured > 0)
    spdlog::info(
        "note: {}: nvfp4 layers without recorded rows to measure on, which get no pre_quant_scale: {}",
        setting, choice.unmeasured);
  if (choice.measured > 0)
    spdlog::info("SmoothQuant: factors of their own (pre_quant_scale) bring {} of {} nvfp4 layers closer{}",
                 choice.factors.size(), choice.measured,
                 choice.factors.empty() ? "" : "; ComfyUI 0.31 was the first to read them");
  for (const auto& [layer, factors] : choice.factors) job_.plan.input_factors.insert(layer);
  job_.run.input_factors = std::move(choice.factors);
  job_.smoothing_measured = choice.measured > 0;
}

plan::Plan Conversion::plan() const {
  return plan::make_plan(checkpoint(), job_.plan, job_.output.substr(job_.output.rfind('/') + 1));
}

pipeline::LayerMethods Conversion::methods() const {
  return {checkpoint(), job_.run.optimizer, job_.run.recording, job_.run.lora};
}

Advice Conversion::advice(const plan::Plan& plan) const {
  Advice advice{.notes = job_.notes, .suggested_preset = plan.suggested_preset, .warnings = job_.warnings};
  const auto append = [](std::vector<std::string>& sentences, const std::vector<std::string>& more) {
    sentences.insert(sentences.end(), more.begin(), more.end());
  };
  append(advice.notes, notes_of_layers(job_.settings, plan, *job_.run.optimizer.optimizer));
  append(advice.notes, plan.notes);
  append(advice.warnings, plan.warnings);
  append(advice.warnings, plan.unused);
  return advice;
}

void Conversion::refuse_unused(const plan::Plan& plan) const {
  if (job_.strict && !plan.unused.empty())
    fail(ErrorCode::kFailure, "{} ({})", plan.unused.front(), job_.settings.report.strict);
}

PlanSummary Conversion::summary(const plan::Plan& plan) const {
  PlanSummary summary{.output = job_.output,
                      .loader = plan.reader.name(),
                      .tensors = plan.tensors.size(),
                      .quantized = plan.count(plan::Decision::kQuantize),
                      .cast = plan.count(plan::Decision::kCast),
                      .bytes_in = plan.bytes_in,
                      .bytes_out = plan.bytes_out,
                      .advice = advice(plan),
                      .removed = {},
                      .methods = methods().summary(plan),
                      .smoothing = ""};
  for (const plan::TensorPlan& tensor : plan.tensors) {
    if (tensor.decision == plan::Decision::kRemove)
      summary.removed.push_back({tensor.source->name(), tensor.reason});
  }
  summary.smoothing = smoothing_words(plan, summary.advice.warnings);
  return summary;
}

std::string Conversion::smoothing_words(const plan::Plan& plan, std::vector<std::string>& warnings) const {
  if (!job_.run.smoothquant_alpha) return "";
  const auto folds =
      transform::Smoothing::candidates(checkpoint(), {checkpoint(), job_.run.recording},
                                       [&](std::string_view layer) { return plan.quantizes(layer); });
  if (folds.empty() && job_.run.input_factors.empty()) {
    if (!job_.smoothing_measured)
      warnings.push_back(fmt::format(
          "{}: nothing in this model can divide the input of a quantized layer, so that none is smoothed; {} "
          "serves every model",
          job_.settings.calibration.smoothquant, job_.settings.target.convrot));
    return "";
  }
  std::vector<std::string> quantized;
  for (const plan::TensorPlan& tensor : plan.tensors) {
    if (tensor.decision == plan::Decision::kQuantize) quantized.emplace_back(tensor.source->layer());
  }
  transform::StoredFactors stored = job_.run.input_factors;
  std::erase_if(stored, [&](const auto& factors) { return !plan.quantizes(factors.first); });
  return transform::summary(folds, quantized, stored);
}

std::vector<pipeline::LayerFormatErrors> Conversion::measure_formats(const plan::Plan& plan) const {
  return pipeline::measure_formats(plan, job_.analysis.formats);
}

std::string Conversion::layer_template(const plan::Plan& plan) const {
  return plan::template_json(plan, job_.plan);
}

std::string Conversion::suggested_template(const std::vector<pipeline::LayerFormatErrors>& measured) const {
  plan::Options options = job_.plan;
  options.allow_empty = true;
  options.measured = pipeline::smallest_formats(measured, *job_.settings.report.threshold_db);
  return plan::template_json(plan::make_plan(checkpoint(), options, ""), options);
}

pipeline::Result Conversion::run(Events& events) {
  if (job_.run.partition) job_.run.partition->run = partition_run(job_, checkpoint(), input_->files());
  if (*job_.settings.output.resume) job_.run.resume = resume_key(job_, checkpoint(), input_->files());
  Followed followed(*this, events);
  return pipeline::convert(checkpoint(), job_.plan, job_.run, followed);
}

std::vector<lora::Extracted> Conversion::extract(const std::string& written) const {
  if (!job_.extraction) return {};
  const OpenedFile after(written), before(job_.input, after.checkpoint);
  return lora::extract(before.quantized, after.quantized, *job_.extraction, job_.lora_output);
}

}  // namespace ctq::engine
