// Banks of experts, which are rounded expert by expert.
#pragma once

#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "pipeline/convert.h"

namespace ctq::pipeline {

/// [out_features, in_features] each: the experts of a bank [experts, out_features, in_features], else the
/// weight itself. Views.
std::vector<at::Tensor> matrices_of(const at::Tensor& weight);

/// What is told of a bank, from what is told of its experts.
class OptimizedBank {
 public:
  /// weight: of the expert
  void add(const Optimized& expert, const at::Tensor& weight);
  /// Objectives are means weighted by the experts' squares, iterations the most that one took; guarded where
  /// all are. Nothing where no expert was optimized.
  std::optional<Optimized> all() const;

 private:
  std::optional<Optimized> first_;
  double squares_ = 0;  ///< of the experts' values
  double nearest_objective_ = 0, objective_ = 0;
  SubspaceError subspace_ = {};
  int64_t iterations_ = 0;
  bool guarded_ = true, out_of_time_ = false;
};

}  // namespace ctq::pipeline
