// The rules: what becomes of one tensor, and why.
#pragma once

#include <string>

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

 private:
  TensorPlan keep(const model::Checkpoint::Entry& entry, std::string reason) const;
  TensorPlan fit_to_shape(TensorPlan plan) const;

  const Options& options_;
  const ValueFindings& findings_;
  ActivePresets presets_;
  bool exclude_used_ = false;
};

}  // namespace ctq::plan
