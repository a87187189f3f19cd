#include "progress.h"

#include <algorithm>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/text.h"

namespace ctq::cli {
namespace {

using engine::Decision;
using nlohmann::ordered_json;

constexpr std::chrono::milliseconds kLineInterval{100};
constexpr std::chrono::seconds kPlainInterval{10};

/// "INT8", "FP8", "NVFP4", "FP16", as the log lines of this field's programs name a type.
std::string upper_case(std::string name) {
  std::ranges::transform(name, name.begin(),
                         [](char c) { return c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c; });
  return name;
}

/// ", direct: trace 1.2e-05 -> 9.1e-06 (-24 %)", with where the input's second moment comes from.
std::string optimizer_words(const engine::OptimizerFigures& optimized) {
  if (optimized.left_over)
    return fmt::format(", rtn: no time left, {} {:.3g}", optimized.objective_name, optimized.objective);
  const std::string source = optimized.source.empty() ? "" : fmt::format(" ({})", optimized.source);
  const std::string end =
      optimized.stopped_by.empty()
          ? ""
          : fmt::format(", {} iterations ({})", optimized.iterations, optimized.stopped_by);
  if (optimized.guarded)
    return fmt::format(", {}{}: no gain, round to nearest kept{}", optimized.method, source, end);
  return fmt::format(", {}{}: {} {:.3g} -> {:.3g} ({:+.1f} %){}", optimized.method, source,
                     optimized.objective_name, optimized.nearest_objective, optimized.objective,
                     100 * (optimized.objective / std::max(optimized.nearest_objective, 1e-300) - 1), end);
}

/// The log's line about one tensor; existing log readers know its beginning.
std::string tensor_line(const engine::TensorDone& done, const Paint& paint) {
  const std::string name = printable(done.name);
  const std::string number = fmt::format("({}/{})", done.index, done.count);
  if (done.decision == Decision::kKeep)
    return fmt::format("{} {}: {} (Reason: {})", number, paint(Tone::kQuiet, "Skipping tensor"), name,
                       done.reason);
  std::string line = fmt::format("{} {}: {} -> {}", number,
                                 paint(Tone::kGood, fmt::format("Processing ({})", upper_case(done.type))),
                                 name, done.label);
  if (done.error) line += fmt::format(", {:.2f} dB", done.error->sqnr_db);
  if (done.optimized) line += optimizer_words(*done.optimized);
  if (done.fell_back) line += fmt::format(" ({})", done.reason);
  return line + fmt::format(", {}", human_duration(done.seconds));
}

void print_json_line(const ordered_json& json) {
  fmt::print(stderr, "{}\n", json.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
}

}  // namespace

void Progress::started(const engine::PlanSummary& plan) {
  started_ = last_shown_ = Clock::now();
  if (mode_ == ProgressMode::kJson) {
    print_json_line(
        {{"event", "start"}, {"n", plan.tensors}, {"bytes_total", plan.bytes_in}, {"output", plan.output}});
  }
}

void Progress::resumed(const engine::Resumed& resumed) {
  spdlog::info("resuming: {} of {} tensors are done", resumed.tensors, resumed.count);
  bytes_resumed_ = resumed.bytes_done;
  started_ = Clock::now();
  if (mode_ == ProgressMode::kJson) {
    print_json_line({{"event", "resumed"},
                     {"i", resumed.tensors},
                     {"n", resumed.count},
                     {"bytes_done", resumed.bytes_done}});
  }
}

void Progress::ranked(const engine::Ranked& ranked) {
  started_ = Clock::now();
  if (ranked.layers == 0) return;
  spdlog::info("time: {} layers rounded to nearest and measured in {}; the largest error is {:.4g} ({})",
               ranked.layers, human_duration(ranked.seconds), ranked.largest_error,
               printable(ranked.largest_of));
}

void Progress::tensor_done(const engine::TensorDone& done) {
  const auto level =
      done.is_layer && mode_ != ProgressMode::kBar ? spdlog::level::info : spdlog::level::debug;
  if (spdlog::default_logger_raw()->should_log(level)) {
    clear_line();
    spdlog::log(level, tensor_line(done, paint_));
  }
  say_how_long(done);
  switch (mode_) {
    case ProgressMode::kBar: draw_line(done); break;
    case ProgressMode::kJson: print_json(done); break;
    case ProgressMode::kPlain:
      if (Clock::now() - last_shown_ < kPlainInterval) break;
      last_shown_ = Clock::now();
      spdlog::info(status(done));
      break;
    case ProgressMode::kNone: break;
  }
}

void Progress::restarted(const std::vector<engine::TensorReason>& unfit) {
  clear_line();
  for (const engine::TensorReason& weight : unfit)
    warn("tensor '{}' has {}: it is copied unquantized", printable(weight.tensor), weight.reason);
  started_ = last_shown_ = Clock::now();
  bytes_resumed_ = 0;
}

double Progress::eta_seconds(const engine::TensorDone& done) const {
  if (done.bytes_done == bytes_resumed_) return 0;
  const double elapsed = std::chrono::duration<double>(Clock::now() - started_).count();
  return elapsed * static_cast<double>(done.bytes_total - done.bytes_done) /
         static_cast<double>(done.bytes_done - bytes_resumed_);
}

/// Once, by the first layers.
void Progress::say_how_long(const engine::TensorDone& done) {
  constexpr double kFirstSeconds = 10;
  const double elapsed = std::chrono::duration<double>(Clock::now() - started_).count();
  if (said_how_long_ || elapsed < kFirstSeconds) return;
  said_how_long_ = true;
  clear_line();
  spdlog::info("about {} more, by the first {} tensors", human_duration(eta_seconds(done)), done.index);
}

std::string Progress::status(const engine::TensorDone& done) const {
  return fmt::format("{:3.0f} %  {}/{} tensors  {} of {}  ETA {}",
                     100.0 * static_cast<double>(done.bytes_done) /
                         static_cast<double>(std::max<uint64_t>(done.bytes_total, 1)),
                     done.index, done.count, human_bytes(done.bytes_done), human_bytes(done.bytes_total),
                     human_duration(eta_seconds(done)));
}

void Progress::draw_line(const engine::TensorDone& done) {
  if (Clock::now() - last_shown_ < kLineInterval && done.index != done.count) return;
  last_shown_ = Clock::now();
  fmt::print(stderr, "\r\x1b[K{}", status(done));
  std::fflush(stderr);
  line_on_screen_ = true;
}

void Progress::clear_line() {
  if (!line_on_screen_) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  line_on_screen_ = false;
}

void Progress::print_json(const engine::TensorDone& done) const {
  ordered_json json = {{"event", "tensor"},
                       {"i", done.index},
                       {"n", done.count},
                       {"key", done.name},
                       {"decision", engine::decision_name(done.decision)}};
  if (done.decision != Decision::kKeep) json["format"] = done.format;
  if (done.optimized) {
    json["optimizer"] = done.optimized->method;
    json["objective_nearest"] = done.optimized->nearest_objective;
    json["objective"] = done.optimized->objective;
    json["iterations"] = done.optimized->iterations;
    if (!done.optimized->stopped_by.empty()) json["stopped_by"] = done.optimized->stopped_by;
  }
  if (done.error) json["sqnr"] = done.error->sqnr_db;
  json["bytes_done"] = done.bytes_done;
  json["bytes_total"] = done.bytes_total;
  json["eta_s"] = eta_seconds(done);
  print_json_line(json);
}

}  // namespace ctq::cli
