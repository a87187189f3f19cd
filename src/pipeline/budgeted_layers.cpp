#include "budgeted_layers.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/cancel.h"
#include "partition.h"
#include "read_ahead.h"

namespace ctq::pipeline {

using plan::TensorPlan;
using Clock = std::chrono::steady_clock;

std::optional<Ranked> BudgetedLayers::rank(std::vector<const TensorPlan*>& order,
                                           const NearestError& nearest_error) {
  const Clock::time_point start = Clock::now();
  std::vector<const TensorPlan*> layers;
  std::ranges::copy_if(order, std::back_inserter(layers), [&](const TensorPlan* tensor) {
    return tensor->decision == plan::Decision::kQuantize && rounding_.optimizes(*tensor);
  });
  Ranked ranked{.layers = layers.size(), .seconds = 0, .largest_error = 0, .largest_of = ""};
  ReadAhead read_ahead(layers, options_.byte_budget);
  double elements = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    throw_if_cancelled();
    read_ahead.advance(i);
    const TensorPlan& layer = *layers[i];
    const std::optional<double> measured = nearest_error(layer);
    if (!measured) return std::nullopt;
    layer.source->file->release(*layer.source->info);
    const double error = std::isnan(*measured) ? 0 : *measured;
    errors_[&layer] = error;
    elements += static_cast<double>(layer.source->info->numel());
    if (error >= ranked.largest_error) ranked.largest_error = error, ranked.largest_of = layer.source->name();
  }
  ranked.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  budget_.nearest_took(ranked.seconds, elements);
  std::ranges::stable_sort(order, {}, [&](const TensorPlan* tensor) {
    if (const auto found = errors_.find(tensor); found != errors_.end()) return std::pair(1, -found->second);
    return std::pair(tensor->decision == plan::Decision::kKeep ? 2 : 0, 0.0);
  });
  return ranked;
}

std::optional<LayerRounding::Outcome> BudgetedLayers::round(const TensorPlan& tensor,
                                                            const at::Tensor& weight,
                                                            LayerRounding::Bounds bounds) {
  const auto found = errors_.find(&tensor);
  if (found == errors_.end()) return rounding_.round(tensor, weight, bounds);
  const double error = found->second;
  if (budget_.grants(job_of(tensor))) {
    const auto left = std::chrono::duration<double>(budget_.left());
    bounds.deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(left);
    auto outcome = rounding_.round(tensor, weight, bounds);
    if (outcome && outcome->optimized) outcome->optimized->nearest_error = error;
    return outcome;
  }
  auto nearest = rounding_.nearest(tensor, weight, bounds.largest);
  if (!nearest) return std::nullopt;
  Optimized left_over{.method = "rtn",
                      .source = "",
                      .objective_name = std::string(rounding_.error_name(tensor)),
                      .nearest_objective = error,
                      .objective = error,
                      .iterations = 0,
                      .stopped_by = "time",
                      .guarded = false,
                      .subspace = std::nullopt,
                      .output = std::nullopt,
                      .nearest_error = error};
  if (left_over.objective_name == "output_rel")
    left_over.output = OutputError{.nearest = error, .stored = error};
  return LayerRounding::Outcome{std::move(*nearest), std::move(left_over)};
}

void BudgetedLayers::done(const TensorPlan& tensor, const std::optional<Optimized>& optimized,
                          double seconds) {
  if (!optimized || !optimized->nearest_error) return;
  if (optimized->left_over())
    budget_.left_over(*optimized->nearest_error);
  else
    budget_.optimized(job_of(tensor), seconds, *optimized->nearest_error,
                      /*cut_short=*/optimized->stopped_by == "time");
}

TimeBudget::Job BudgetedLayers::job_of(const TensorPlan& tensor) const {
  return {.optimizer = rounding_.methods().choice(tensor).settings.optimizer,
          .cost = cost_of(tensor, rounding_.methods())};
}

}  // namespace ctq::pipeline
