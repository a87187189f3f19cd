#include "bank.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace ctq::pipeline {

std::vector<at::Tensor> matrices_of(const at::Tensor& weight) {
  if (weight.dim() == 2) return {weight};
  return weight.unbind(0);
}

void OptimizedBank::add(const Optimized& expert, const at::Tensor& weight) {
  const double squares = weight.to(at::kFloat).square().sum(at::kDouble).item<double>();
  squares_ += squares;
  nearest_objective_ += squares * expert.nearest_objective;
  objective_ += squares * expert.objective;
  if (expert.subspace) {
    subspace_.nearest += squares * expert.subspace->nearest;
    subspace_.stored += squares * expert.subspace->stored;
  }
  iterations_ = std::max(iterations_, expert.iterations);
  guarded_ = guarded_ && expert.guarded;
  out_of_time_ = out_of_time_ || expert.stopped_by == "time";
  if (!first_) first_ = expert;
}

std::optional<Optimized> OptimizedBank::all() const {
  if (!first_) return std::nullopt;
  Optimized all = *first_;
  const auto mean = [&](double sum) { return squares_ > 0 ? sum / squares_ : 0; };
  all.nearest_objective = mean(nearest_objective_);
  all.objective = mean(objective_);
  if (all.subspace)
    all.subspace = SubspaceError{.nearest = mean(subspace_.nearest), .stored = mean(subspace_.stored)};
  all.iterations = iterations_;
  all.guarded = guarded_;
  if (out_of_time_) all.stopped_by = "time";
  return all;
}

}  // namespace ctq::pipeline
