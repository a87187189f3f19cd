// The rules: what becomes of one tensor, and why.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ctq/model/checkpoint.h"
#include "ctq/plan/plan.h"

namespace ctq::plan {

/// Routes the tensors of one checkpoint, and remembers which patterns never matched.
class Router {
 public:
  Router(const Options& options, const ValueFindings& findings, std::span<const std::string> names);

  /// Decision, reason and target; outputs are left empty.
  TensorPlan route(const model::Checkpoint::Entry& entry);
  /// Sentences about what matched nothing so far.
  std::vector<std::string> unused() const;
  /// What else the user should know, one sentence each.
  std::vector<std::string> notes() const;

 private:
  /// What the rules about layers say of a candidate, before its shape and values are looked at.
  struct Choice {
    std::optional<Target> target;  ///< nothing: keep it
    std::string reason;
    bool heuristic = false;
    std::optional<bool> full_precision_matrix_mult;
  };

  /// Why a candidate is below the sizes asked for; empty when it is not.
  std::string too_small(const model::Checkpoint::Entry& entry) const;
  TensorPlan route_candidate(const model::Checkpoint::Entry& entry);
  Choice choose(const model::Checkpoint::Entry& entry);
  Choice follow(const LayerRule& rule) const;
  TensorPlan keep(const model::Checkpoint::Entry& entry, std::string reason) const;
  TensorPlan fit_to_shape(TensorPlan plan, bool heuristic);
  TensorPlan fit_rotation(TensorPlan plan);
  /// The most specific entry of the layer configuration that matches; null when none does.
  const LayerRule* configured(std::string_view layer);
  /// Why filters leave a candidate out; nothing when they do not.
  std::optional<std::string> excluded(const std::string& name);

  const Options& options_;
  const ValueFindings& findings_;
  ActivePresets presets_;
  std::vector<bool> entry_used_;  // by the layer configuration's entries
  bool custom_used_ = false;
  bool exclude_used_ = false;
  size_t not_rotated_ = 0;
};

}  // namespace ctq::plan
