// Iterative learned rounding: gradient steps on the choice between each weight's two neighbours on its grid.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "optimize/rounding.h"
#include "optimize/schedule.h"
#include "optimize/subspace.h"

namespace ctq::optimize {

class Relaxation;
class Solver;
struct LearnedSettings;
struct Rounding;

/// How a gradient becomes a step: a method of learned rounding, with either `make_solver` or `search`.
struct Learner {
  std::string_view name;        ///< "adamw"
  double usual_lr = 8.0773e-3;  ///< the learning rate to use where none is given
  /// Codes: where an adaptive schedule may raise the rate to. Larger steps throw positions from end to end of
  /// their cell, and what is lost outside the subspace does not come back.
  double highest_lr = 0.03;
  int64_t hold = 0;  ///< iterations at first in which the rate is never lowered
  std::unique_ptr<Solver> (*make_solver)(const LearnedSettings&) = nullptr;
  /// All iterations, from a learning rate.
  /// returns  the best sides
  at::Tensor (*search)(Relaxation&, const LearnedSettings&, double lr, Rounding& result) = nullptr;
};

extern const Learner kNormalisedGradient;  ///< original: along the normalised gradient
extern const Learner kAdamWSteps;          ///< Loshchilov & Hutter, arXiv:1711.05101
extern const Learner kRAdamSteps;          ///< Liu et al., arXiv:1908.03265
extern const Learner kLineSearch;          ///< tpec: along the normalised gradient, by line search
extern const Learner kProdigySteps;        ///< Mishchenko & Defazio, arXiv:2306.06101; `lr` multiplies the
                                           ///< distance it estimates

struct LearnedSettings {
  const Learner* learner = &kNormalisedGradient;
  int64_t iterations = 1000;  ///< at most
  std::optional<double> lr;   ///< codes per step of a weight with the layer's typical grid spacing; nothing:
                              ///< the learner's usual one
  ScheduleSettings schedule;
  StopSettings stop;  ///< `loss` in units of subspace_rel
  SubspaceSettings subspace;
  bool use_speed = false;  ///< prodigy: distance estimated from every 11th column
  std::optional<std::chrono::steady_clock::time_point> deadline =
      {};  ///< no iteration begins after it; nothing: no end
};

/// Minimises subspace_rel = ||U^T E V||_F / ||W||_F over the codes, E = values * scale - W, where the columns
/// of U and V are W's k leading singular vectors.
///
/// Each weight keeps a position h in [0, 1] between its lower and upper neighbour on the grid, starting where
/// the weight lies, and is coded as the nearer one: the first codes are round to nearest. The loss and its
/// gradient are those of the coded weights, the step is applied to the positions (straight-through estimator,
/// Bengio et al., arXiv:1308.3432). The codes with the lowest loss that was measured are returned; they never
/// lie above round to nearest, and codes are at most one grid step from the weight.
///
/// layer    any device; the result is on it. The CPU waits for a device once in 16 iterations; the learning
///          rate follows the losses at that distance
/// returns  objective "subspace"; stopped_by is a reason of LearningRate, "iterations", "time"
///          (the deadline), or "nothing to gain" (a zero weight, or one on its grid)
Rounding learned_rounding(const Layer& layer, const LearnedSettings& settings);

}  // namespace ctq::optimize
