// tpec: learned rounding by line searches along the normalised gradient.
#include <ATen/ATen.h>

#include "optimize/deadline.h"
#include "optimize/learned_optimizer.h"
#include "optimize/learned_relaxation.h"

namespace ctq::optimize {
namespace {

constexpr int64_t kVainSteps = 40;
constexpr double kNegligible = 1e-8;  // a loss, in units of subspace_rel, or a step, in codes

/// From the best positions so far one step along the normalised gradient; twice as far after a step that
/// lowered the loss of the rounded codes, half as far after one that did not, which is taken back. Ends after
/// settings.iterations, at settings.deadline, after 40 vain steps in a row, or where the loss or the step is
/// negligible.
///
/// lr       the first step, in codes of a weight with the layer's typical spacing
/// result   its iterations and stopped_by are set
/// returns  the best sides
at::Tensor search_lines(Relaxation& relaxation, const LearnedSettings& settings, double lr,
                        Rounding& result) {
  Positions& positions = relaxation.positions();
  double best_loss = relaxation.measure().item<double>();
  at::Tensor best_sides = relaxation.sides().clone(), best = positions.h.clone();
  at::Tensor direction = relaxation.gradient().clone();
  int64_t vain = 0;
  result.stopped_by = "iterations";
  for (; result.iterations < settings.iterations; ++result.iterations) {
    if (best_loss < kNegligible) {
      result.stopped_by = "loss";
      break;
    }
    if (vain == kVainSteps || lr < kNegligible) {
      result.stopped_by = vain == kVainSteps ? "stall" : "learning rate";
      break;
    }
    if (is_past(settings.deadline)) {
      result.stopped_by = "time";
      break;
    }
    positions.move(direction, lr);
    positions.h.clamp_(0, 1);
    const double loss = relaxation.measure().item<double>();
    if (loss < best_loss) {
      best_loss = loss;
      best_sides.copy_(relaxation.sides());
      best.copy_(positions.h);
      direction.copy_(relaxation.gradient());
      lr *= 2;
      vain = 0;
    } else {
      positions.h.copy_(best);
      lr /= 2;
      ++vain;
    }
  }
  return best_sides;
}

}  // namespace

constinit const Learner kLineSearch = {.name = "tpec", .usual_lr = 1, .search = search_lines};
constinit const Optimizer kTpec = learned_optimizer(kLineSearch);

}  // namespace ctq::optimize
