#include "optimize/learned.h"

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>

#include "optimize/deadline.h"
#include "optimize/learned_optimizer.h"
#include "optimize/learned_relaxation.h"

namespace ctq::optimize {
namespace {

constexpr int64_t kReadEvery = 16;  // iterations between two waits for the device

double lr_of(const LearnedSettings& settings) { return settings.lr.value_or(settings.learner->usual_lr); }

ScheduleSettings schedule_of(const LearnedSettings& settings) {
  ScheduleSettings schedule = settings.schedule;
  schedule.highest = std::min(schedule.highest, std::max(lr_of(settings), settings.learner->highest_lr));
  schedule.hold = std::max(schedule.hold, settings.learner->hold);
  return schedule;
}

/// The best sides seen, chosen on the device.
class Best {
 public:
  void offer(const at::Tensor& sides, const at::Tensor& loss) {
    if (!loss_.defined()) {
      sides_ = sides.clone();
      loss_ = loss.clone();
    }
    at::where_out(sides_, loss < loss_, sides, sides_);
    at::minimum_out(loss_, loss_, loss);
  }
  const at::Tensor& sides() const { return sides_; }

 private:
  at::Tensor sides_, loss_;
};

/// Losses that wait on the device to be read together.
class Unread {
 public:
  void add(const at::Tensor& loss) {
    if (!losses_.defined()) losses_ = at::empty({kReadEvery}, loss.options());
    losses_.select(0, count_++).copy_(loss);
  }
  bool full() const { return count_ == kReadEvery; }
  /// Waits for the device.
  std::vector<float> take() {
    const at::Tensor read = losses_.narrow(0, 0, count_).cpu();
    count_ = 0;
    return {read.const_data_ptr<float>(), read.const_data_ptr<float>() + read.numel()};
  }

 private:
  at::Tensor losses_;
  int64_t count_ = 0;
};

/// The reason to stop after these losses; empty to go on.
std::string_view follow(LearningRate& rate, const std::vector<float>& losses) {
  for (const float loss : losses) {
    rate.update(loss);
    if (const std::string_view reason = rate.stop_reason(); !reason.empty()) return reason;
  }
  return "";
}

/// Steps until a rule or the number of iterations ends them.
/// returns  the best sides
at::Tensor iterate(Relaxation& relaxation, const LearnedSettings& settings, Rounding& result) {
  Positions& positions = relaxation.positions();
  const auto solver = settings.learner->make_solver(settings);
  LearningRate rate(schedule_of(settings), settings.stop, lr_of(settings), positions.h.size(0),
                    positions.h.size(1));
  Best best;
  Unread unread;
  for (;; ++result.iterations) {
    const at::Tensor loss = relaxation.measure();
    best.offer(relaxation.sides(), loss);
    unread.add(loss);
    const bool last = result.iterations == settings.iterations, late = is_past(settings.deadline);
    if (last || late || unread.full()) result.stopped_by = follow(rate, unread.take());
    if ((last || late) && result.stopped_by.empty()) result.stopped_by = last ? "iterations" : "time";
    if (!result.stopped_by.empty()) return best.sides();
    solver->step(positions, relaxation.gradient(), rate.value());
    positions.h.clamp_(0, 1);
  }
}

}  // namespace

Rounding learned_rounding(const Layer& layer, const LearnedSettings& settings) {
  Rounding result;
  result.values = layer.nearest;
  result.scale = layer.scale;
  result.method = settings.learner->name;
  result.objective = "subspace";
  result.stopped_by = "nothing to gain";
  if (layer.weight.numel() == 0 || !(layer.weight.norm().item<float>() > 0)) return result;

  const linalg::LowRank leading = leading_vectors(layer.weight, settings.subspace);
  Relaxation relaxation(layer, leading.u, leading.v);
  if (!relaxation.any_choice()) return result;
  result.nearest_objective = result.objective_value = relaxation.loss_of(layer, layer.nearest);
  result.stopped_by.clear();
  const auto search = settings.learner->search;
  const at::Tensor sides =
      search ? search(relaxation, settings, lr_of(settings), result) : iterate(relaxation, settings, result);
  const at::Tensor values = relaxation.values(sides);
  const double loss = relaxation.loss_of(layer, values);
  result.guarded = result.iterations > 0 && !(loss < result.nearest_objective);
  if (loss < result.nearest_objective) {
    result.values = values;
    result.objective_value = loss;
  }
  return result;
}

double learned_cost(const Settings& settings, double) {
  return static_cast<double>(std::max<int64_t>(settings.learned.iterations, 1));
}

// By measurement: a product of low rank, its factors and Adam's moments.
Footprint learned_footprint(const Settings&, const Space&) { return {.rows = 20, .moments = 0}; }

Rounding round_learned(const Layer& layer, const Settings& settings, const SecondMoment*) {
  LearnedSettings learned = settings.learned;
  learned.learner = settings.optimizer->learner;
  return learned_rounding(layer, learned);
}

}  // namespace ctq::optimize
