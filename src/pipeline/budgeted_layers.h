// Layers that share a time budget: which is worked on first, and whether there is time for its optimizer.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "layer_rounding.h"
#include "time_budget.h"

namespace ctq::pipeline {

class BudgetedLayers {
 public:
  /// rounding: must outlive this
  BudgetedLayers(double seconds, const RunOptions& options, LayerRounding& rounding)
      : options_(options), rounding_(rounding), budget_(seconds) {}

  /// LayerRounding::error() of a layer rounded to nearest; nothing where its values cannot be quantized.
  using NearestError = std::function<std::optional<double>(const plan::TensorPlan& tensor)>;

  /// Measures every layer of `order` that is to be optimized, which reads them once, and sorts: tensors whose
  /// values may still stop the run, these layers by falling error, what is kept.
  /// returns  nothing where a layer cannot be quantized
  std::optional<Ranked> rank(std::vector<const plan::TensorPlan*>& order, const NearestError& nearest_error);

  /// LayerRounding::round(), or round to nearest where there is no time left for the layer's optimizer.
  std::optional<LayerRounding::Outcome> round(const plan::TensorPlan& tensor, const at::Tensor& weight,
                                              LayerRounding::Bounds bounds);

  /// For every layer that is done, also by an earlier run.
  void done(const plan::TensorPlan& tensor, const std::optional<Optimized>& optimized, double seconds);

  const TimeSpent& spent() const { return budget_.spent(); }

 private:
  TimeBudget::Job job_of(const plan::TensorPlan& tensor) const;

  const RunOptions& options_;
  LayerRounding& rounding_;
  TimeBudget budget_;
  std::map<const plan::TensorPlan*, double> errors_;  ///< of the layers that are to be optimized
};

}  // namespace ctq::pipeline
