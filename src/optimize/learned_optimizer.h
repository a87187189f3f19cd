// The row of an optimizer that learns.
#pragma once

#include "optimize/optimizer.h"

namespace ctq::optimize {

double learned_cost(const Settings& settings, double columns);
Footprint learned_footprint(const Settings& settings, const Space& space);
Rounding round_learned(const Layer& layer, const Settings& settings, const SecondMoment* moment);

constexpr Optimizer learned_optimizer(const Learner& learner) {
  return {.name = learner.name,
          .names_itself = true,
          .heeds_deadline = true,
          .learner = &learner,
          .cost = learned_cost,
          .footprint = learned_footprint,
          .round = round_learned};
}

}  // namespace ctq::optimize
