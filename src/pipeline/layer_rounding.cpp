#include "layer_rounding.h"

#include <utility>

#include <ATen/ATen.h>

#include "ctq/optimize/subspace.h"

namespace ctq::pipeline {
namespace {

using optimize::Method;

Optimized describe(const optimize::Rounding& rounding) {
  return {.method = rounding.method,
          .source = "",
          .objective_name = rounding.objective,
          .nearest_objective = rounding.nearest_objective,
          .objective = rounding.objective_value,
          .iterations = rounding.iterations,
          .stopped_by = rounding.stopped_by,
          .guarded = rounding.guarded,
          .subspace = std::nullopt};
}

SubspaceError measure_subspace(const optimize::Layer& layer, const optimize::Rounding& rounding,
                               const optimize::SubspaceSettings& settings) {
  const linalg::LowRank leading = optimize::leading_vectors(layer.weight, settings);
  return {.nearest = optimize::subspace_rel(leading, layer.weight, error_of(layer, layer.nearest)),
          .stored = optimize::subspace_rel(leading, layer.weight,
                                           error_of(layer, rounding.values, rounding.scale))};
}

}  // namespace

std::optional<LayerRounding::Outcome> LayerRounding::round(const plan::TensorPlan& tensor,
                                                           const at::Tensor& weight) {
  const plan::Target& target = tensor.target;
  auto nearest = format::encode_nearest(*target.codec, weight, target.block_size);
  if (!nearest) return std::nullopt;
  const LayerMethods::Choice choice = methods_.choice(tensor);
  const bool plain =
      choice.settings.method == Method::kNearest && choice.settings.scales == optimize::Scales::kAbsmax;
  if (plain || weight.numel() == 0) return Outcome{std::move(*nearest), std::nullopt};

  std::optional<at::Tensor> moment;
  if (!choice.source.empty()) {
    const auto& moments = implied_moments(std::string(tensor.source->layer()));
    if (moments) moment = moments->second;
  }
  const optimize::Layer layer = optimize::make_layer(*nearest, weight);
  const optimize::Rounding rounding = optimize::round_layer(layer, choice.settings, moment);
  Optimized optimized = describe(rounding);
  if (moment) optimized.source = choice.source;
  if (options_.measure_quality && weight.numel() > 0)
    optimized.subspace = measure_subspace(layer, rounding, choice.settings.learned.subspace);
  if (rounding.guarded) return Outcome{std::move(*nearest), std::move(optimized)};
  return Outcome{optimize::encode(*target.codec, target.block_size, rounding), std::move(optimized)};
}

at::Tensor LayerRounding::input_mean(const plan::TensorPlan& tensor) {
  if (options_.bias_correction != BiasCorrection::kNorm) return {};
  const std::string layer(tensor.source->layer());
  if (!methods_.implied().source(layer).starts_with("norm ")) return {};
  const auto& moments = implied_moments(layer);
  return moments ? moments->mean : at::Tensor();
}

const std::optional<calibrate::InputMoments>& LayerRounding::implied_moments(const std::string& layer) {
  const std::string key = methods_.implied().input_key(layer);
  if (key == cached_key_) return cached_moments_;
  cached_moments_ =
      methods_.implied().moments(layer, options_.optimizer.seed, calibrate::kImpliedRows, options_.device);
  cached_key_ = key;
  return cached_moments_;
}

}  // namespace ctq::pipeline
