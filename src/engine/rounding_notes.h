// Which optimizers some layer may get, and what of the settings then has no effect.
#pragma once

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>

#include "engine/parts.h"
#include "optimize/optimizer.h"

namespace ctq::engine {

/// The optimizers that some layer may get.
class InUse {
 public:
  InUse(const optimize::Optimizer& run, const plan::Options& plan) {
    const auto add = [&](const std::optional<plan::Target>& target) {
      if (target) optimizers_.insert(target->optimizer ? target->optimizer : &run);
    };
    add(plan.target);
    if (plan.custom) add(plan.custom->target);
    add(plan.fallback);
    if (!plan.layer_config) return;
    for (const auto& entry : plan.layer_config->entries()) add(entry.rule.target);
    if (plan.layer_config->default_rule()) add(plan.layer_config->default_rule()->target);
  }
  bool has(const optimize::Optimizer& optimizer) const { return optimizers_.contains(&optimizer); }
  bool learned() const {
    return any([](const optimize::Optimizer& each) { return each.learner != nullptr; });
  }
  bool implied() const {
    return any([](const optimize::Optimizer& each) { return each.needs.implied; });
  }
  /// Takes a second moment in one pass.
  bool one_pass() const {
    return any([](const optimize::Optimizer& each) { return each.needs.moment && !each.by_gradients; });
  }
  bool recorded() const {
    return any([](const optimize::Optimizer& each) { return each.needs.recorded; });
  }
  bool only_nearest() const {
    return !learned() && !any([](const optimize::Optimizer& each) { return each.needs.moment; });
  }
  /// Learned rounding that follows a schedule.
  bool scheduled() const {
    return any([](const optimize::Optimizer& each) { return each.learner && each.learner->make_solver; });
  }

 private:
  template <typename Predicate>
  bool any(const Predicate& predicate) const {
    return std::ranges::any_of(optimizers_,
                               [&](const optimize::Optimizer* each) { return predicate(*each); });
  }

  std::set<const optimize::Optimizer*> optimizers_;
};

/// throws  Error(kUsage) for the first setting of rounding that a user gave, where no layer is rounded to
///         codes
void refuse_rounding(const Settings& settings, std::string_view why);

/// Adds a note for every setting of rounding that is given and read by none of these.
void note_unused_rounding(const Settings& settings, const InUse& in_use, Remarks remarks);

/// The same of what only the planned layers show.
/// run: the optimizer of layers without one of their own
std::vector<std::string> notes_of_layers(const Settings& settings, const plan::Plan& plan,
                                         const optimize::Optimizer& run);

}  // namespace ctq::engine
