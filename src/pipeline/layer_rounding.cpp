#include "layer_rounding.h"

#include <utility>

#include <ATen/ATen.h>

namespace ctq::pipeline {

using optimize::Method;

std::optional<LayerRounding::Outcome> LayerRounding::round(const plan::TensorPlan& tensor,
                                                           const at::Tensor& weight) {
  const plan::Target& target = tensor.target;
  auto nearest = format::encode_nearest(*target.codec, weight, target.block_size);
  if (!nearest) return std::nullopt;
  if (options_.optimizer.method == Method::kNearest || target.simple)
    return Outcome{std::move(*nearest), std::nullopt};

  const std::string name(tensor.source->layer());
  std::optional<at::Tensor> moment;
  if (implied_) moment = implied_second_moment(name);
  const optimize::Layer layer = optimize::make_layer(*nearest, weight);
  const optimize::Rounding rounding = optimize::round_layer(layer, options_.optimizer, moment);
  Optimized optimized{.method = rounding.method,
                      .source = moment ? implied_->source(name) : "",
                      .nearest_objective = rounding.nearest_objective,
                      .objective = rounding.objective_value,
                      .guarded = rounding.guarded};
  if (rounding.guarded) return Outcome{std::move(*nearest), std::move(optimized)};
  return Outcome{optimize::encode(*target.codec, target.block_size, layer, rounding.values),
                 std::move(optimized)};
}

std::optional<at::Tensor> LayerRounding::implied_second_moment(const std::string& layer) {
  const std::string key = implied_->input_key(layer);
  if (key.empty()) return std::nullopt;
  if (key != cached_key_) {
    const auto moments = implied_->moments(layer, options_.optimizer.seed);
    cached_moment_ = moments ? std::optional(moments->second.to(options_.device)) : std::nullopt;
    cached_key_ = key;
  }
  return cached_moment_;
}

}  // namespace ctq::pipeline
