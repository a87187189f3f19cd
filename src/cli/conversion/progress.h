// A conversion's progress: a live line on a terminal, plain lines otherwise, or JSON lines for other
// programs.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/terminal.h"
#include "ctq/engine/events.h"

namespace ctq::cli {

enum class ProgressMode : unsigned char { kBar, kPlain, kJson, kNone };

class Progress final : public engine::Events {
 public:
  explicit Progress(ProgressMode mode) : mode_(mode) {}
  ~Progress() override { clear_line(); }

  /// Takes the live line away.
  void finished() { clear_line(); }

  void started(const engine::PlanSummary& plan) override;
  void resumed(const engine::Resumed& resumed) override;
  void ranked(const engine::Ranked& ranked) override;
  void tensor_done(const engine::TensorDone& done) override;
  void restarted(const std::vector<engine::TensorReason>& unfit) override;

 private:
  using Clock = std::chrono::steady_clock;

  void draw_line(const engine::TensorDone& done);
  void clear_line();
  void print_json(const engine::TensorDone& done) const;
  std::string status(const engine::TensorDone& done) const;
  void say_how_long(const engine::TensorDone& done);
  double eta_seconds(const engine::TensorDone& done) const;

  const ProgressMode mode_;
  const Paint paint_{stdout};  ///< of the lines about tensors, which are notes
  Clock::time_point started_;
  Clock::time_point last_shown_;
  uint64_t bytes_resumed_ = 0;  ///< of the input: an earlier run's work, of no use to the ETA
  bool line_on_screen_ = false;
  bool said_how_long_ = false;
};

}  // namespace ctq::cli
