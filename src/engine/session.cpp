#include "ctq/engine/session.h"

#include <atomic>
#include <exception>
#include <initializer_list>
#include <mutex>
#include <type_traits>
#include <utility>

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include "base/cancel.h"
#include "base/cancel_request.h"
#include "base/error.h"
#include "base/log.h"
#include "engine/calibration.h"
#include "engine/conversion.h"
#include "engine/followed.h"
#include "engine/log.h"
#include "engine/opened_file.h"
#include "engine/verification.h"
#include "linalg/device.h"
#include "safetensors/reader.h"

namespace ctq::engine {
namespace {

std::atomic<bool> one_is_there{false};

/// What only a program that prints and writes reports can do.
void refuse_reports(const Report& report) {
  for (const AnySetting* setting : std::initializer_list<const AnySetting*>{
           &report.dry_run, &report.json, &report.layer_template, &report.blocks, &report.errors,
           &report.suggest, &report.files, &report.quality_json, &report.threshold_fails}) {
    if (setting->given())
      refuse_to_have(*setting, "is for the program; a session returns values, and shows a plan by plan()");
  }
}

/// Whatever came of an input that was taken away, that is the reason.
[[noreturn]] void fail_for(const std::exception& error) {
  safetensors::check_inputs();
  if (const auto* ours = dynamic_cast<const Error*>(&error)) throw Error(*ours);
  if (linalg::is_out_of_memory(error))
    fail(ErrorCode::kFailure, "out of memory; a bound (compute.max_memory) or fewer threads would help");
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  fail(ErrorCode::kFailure, "{}", torch ? torch->what_without_backtrace() : error.what());
}

PlannedTensor planned(const plan::TensorPlan& tensor) {
  const bool changes =
      tensor.decision == plan::Decision::kQuantize || tensor.decision == plan::Decision::kCast;
  return {.name = tensor.source->name(),
          .decision = plain_decision(tensor.decision),
          .reason = tensor.reason,
          .label = changes ? tensor.target.label() : "",
          .bytes_in = tensor.bytes_in(),
          .bytes_out = tensor.bytes_out()};
}

ConversionResult merge(const Conversion& conversion) {
  const rewrite::Written written = conversion.write_merged();
  ConversionResult result;
  result.written = conversion.job().output;
  result.cast = written.computed;
  result.kept = written.copied;
  result.bytes_in = conversion.checkpoint().bytes();
  return result;
}

}  // namespace

struct Session::State {
  std::mutex busy;
  bool has_free_cores = true;  ///< for the first run: as many threads as the session found when it began
  std::shared_ptr<spdlog::logger> logger_before = spdlog::default_logger();

  /// One call of a session's.
  template <typename Work>
  auto call(const Work& work) -> std::invoke_result_t<Work> {
    const std::lock_guard lock(busy);
    struct Withdrawn {
      ~Withdrawn() { withdraw_cancel(); }
    } withdrawn;
    try {
      if constexpr (std::is_void_v<std::invoke_result_t<Work>>) {
        throw_if_cancelled();
        work();
        safetensors::check_inputs();
      } else {
        throw_if_cancelled();
        auto result = work();
        safetensors::check_inputs();
        return result;
      }
    } catch (const std::exception& error) {
      fail_for(error);
    }
  }
};

Session::Session(SessionOptions options) {
  if (one_is_there.exchange(true))
    fail(ErrorCode::kFailure, "another session is there; threads, memory and log are the process' own");
  state_ = std::make_unique<State>();
  linalg::set_threads(linalg::free_cores());
  log_as(options);
  if (options.handle_signals) install_signal_handlers();
}

Session::~Session() {
  spdlog::set_default_logger(state_->logger_before);
  one_is_there = false;
}

void Session::cancel() { request_cancel(); }

void Session::set_up(const Process& process) {
  process.bounded_memory ? linalg::return_freed_memory() : linalg::keep_freed_memory();
  const bool has_free_cores = std::exchange(state_->has_free_cores, false);
  if (process.threads > 0)
    linalg::set_threads(process.threads);
  else if (!has_free_cores)
    linalg::set_threads(linalg::free_cores());
  linalg::set_bf16_compute(process.bf16);
}

ConversionResult Session::convert(const Settings& settings) {
  Events nobody;
  return convert(settings, nobody);
}

ConversionResult Session::convert(const Settings& settings, Events& events) {
  return state_->call([&] {
    refuse_reports(settings.report);
    Conversion conversion(*this, prepare(settings));
    if (!conversion.job().merging.only_to.empty()) return merge(conversion);
    conversion.gather(events);
    ConversionResult result = plain_result(conversion.run(events));
    for (const lora::Extracted& layer : conversion.extract(result.written))
      result.adapted.push_back({.layer = layer.layer,
                                .rank = layer.rank,
                                .error_before = layer.error_before,
                                .error_after = layer.error_after});
    if (conversion.job().extraction) result.adapter = conversion.job().lora_output;
    return result;
  });
}

PlanResult Session::plan(const Settings& settings) {
  return state_->call([&] {
    refuse_reports(settings.report);
    Settings dry = settings;
    dry.report.dry_run = DryRun::kAnalyze;
    Conversion conversion(*this, prepare(dry));
    Events nobody;
    conversion.gather(nobody);
    const plan::Plan plan = conversion.plan();
    conversion.refuse_unused(plan);
    PlanResult result{.summary = conversion.summary(plan), .tensors = {}};
    for (const plan::TensorPlan& tensor : plan.tensors) result.tensors.push_back(planned(tensor));
    return result;
  });
}

Inspection Session::inspect(const Path& path) {
  return state_->call([&] {
    const OpenedFile file(path.string(), safetensors::Shard::kAlone);
    Inspection result{.files = file.checkpoint.files(),
                      .metadata = {file.checkpoint.metadata().begin(), file.checkpoint.metadata().end()},
                      .fingerprint = model::fingerprint(file.checkpoint),
                      .tensors = {},
                      .layers = {}};
    for (const model::Checkpoint::Entry& entry : file.checkpoint.entries())
      result.tensors.push_back({.name = entry.name(),
                                .type = std::string(safetensors::dtype_name(entry.info->dtype)),
                                .shape = entry.info->shape,
                                .bytes = entry.info->bytes()});
    for (const quantized::Layer& layer : file.quantized.layers)
      result.layers.push_back({.name = layer.name,
                               .dialect = std::string(layer.dialect_label()),
                               .format = layer.format,
                               .shape = layer.shape(),
                               .rotation_group = layer.rotation_group()});
    return result;
  });
}

Verdict Session::verify(const VerificationSettings& settings) {
  return state_->call([&] {
    Verdict verdict;
    Verification found = verify_file(settings);
    for (verify::Finding& finding : found.findings) {
      verdict.refused |= finding.refused;
      verdict.findings.push_back({std::move(finding.subject), std::move(finding.text), finding.refused});
    }
    for (verify::LayerError& layer : found.measured)
      verdict.measured.push_back({std::move(layer.name), layer.error.sqnr_db});
    return verdict;
  });
}

void Session::calibrate(const CalibrationSettings& settings) {
  state_->call([&] { write_calibration(settings); });
}

}  // namespace ctq::engine
