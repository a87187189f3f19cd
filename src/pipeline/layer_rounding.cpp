#include "layer_rounding.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "ctq/base/log.h"
#include "ctq/base/text.h"
#include "ctq/metrics/error.h"
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
          .subspace = std::nullopt,
          .output = std::nullopt};
}

SubspaceError measure_subspace(const optimize::Layer& layer, const optimize::Rounding& rounding,
                               const optimize::SubspaceSettings& settings) {
  const linalg::LowRank leading = optimize::leading_vectors(layer.weight, settings);
  return {.nearest = optimize::subspace_rel(leading, layer.weight, error_of(layer, layer.nearest)),
          .stored = optimize::subspace_rel(leading, layer.weight,
                                           error_of(layer, rounding.values, rounding.scale))};
}

/// Of x / factors, from the second moment of x.
at::Tensor divided(const at::Tensor& second, const at::Tensor& factors) {
  return (second / factors).div_(factors.unsqueeze(1));
}

/// Tells inputs apart: what a recording calls one input may be divided for some of its readers only.
std::string input_key(const std::string& input, const std::string& layer, const at::Tensor& factors) {
  return factors.defined() && !input.empty() ? fmt::format("{} divided for {}", input, layer) : input;
}

/// One pass rounds rows independently of each other; a singular value decomposition needs them all.
bool can_be_split(const format::Codec& codec, const optimize::Settings& settings) {
  return !codec.incoherent && !optimize::is_learned(settings.method) && settings.method != Method::kNearest &&
         settings.method != Method::kQuip && settings.direct.objective == optimize::DirectObjective::kMixed;
}

/// Rounds some rows at a time, in place. Scales that rows share stay as they are.
Optimized round_rows(format::Encoded& encoded, const at::Tensor& weight, optimize::Settings settings,
                     const optimize::SecondMoment& moment, int64_t elements_at_once) {
  const int64_t rows = weight.size(0), columns = weight.size(1);
  const linalg::Tiling tiling = format::tiling(*encoded.codec, rows, columns, encoded.block_size);
  const bool one_scale = encoded.codec->granularity == format::Granularity::kTensor;
  if (one_scale) settings.scales = optimize::Scales::kAbsmax;
  const int64_t unit = one_scale ? 1 : tiling.rows;
  const int64_t at_once = std::max<int64_t>(elements_at_once / columns / unit, 1) * unit;
  Optimized all;
  double whole = 0;
  bool guarded = true;
  for (int64_t row = 0; row < rows; row += at_once) {
    const int64_t count = std::min(at_once, rows - row);
    format::Encoded part = format::rows_of(encoded, row, count);
    const optimize::Layer layer = optimize::make_layer(part, weight.narrow(0, row, count));
    const optimize::Rounding rounding = optimize::round_one_pass(layer, settings, moment);
    const double share = layer.weight.square().sum(at::kDouble).item<double>();
    all = {.method = rounding.method,
           .source = "",
           .objective_name = rounding.objective,
           .nearest_objective = all.nearest_objective + share * rounding.nearest_objective,
           .objective = all.objective + share * rounding.objective_value,
           .iterations = rounding.iterations,
           .stopped_by = "",
           .guarded = false,
           .subspace = std::nullopt,
           .output = std::nullopt};
    whole += share;
    guarded = guarded && rounding.guarded;
    if (rounding.guarded) continue;
    const format::Encoded chosen = optimize::encode(part, rounding);
    part.codes.copy_(chosen.codes);
    part.scales.copy_(chosen.scales);
  }
  all.guarded = guarded;
  if (whole > 0) all.nearest_objective /= whole, all.objective /= whole;
  return all;
}

}  // namespace

std::optional<format::Encoded> LayerRounding::nearest(const plan::TensorPlan& tensor,
                                                      const at::Tensor& weight, float largest) const {
  const plan::Target& target = tensor.target;
  return largest > 0 ? format::encode_nearest_reaching(*target.codec, weight, largest)
                     : format::encode_nearest(*target.codec, weight, target.block_size, target.rotation_group,
                                              options_.optimizer.quip_seed);
}

bool LayerRounding::optimizes(const plan::TensorPlan& tensor) const {
  const optimize::Settings settings = methods_.choice(tensor).settings;
  const std::vector<int64_t>& shape = tensor.source->info->shape;
  const int64_t elements = shape.at(0) * shape.at(1);
  return settings.method != Method::kNearest && elements > 0 &&
         (elements <= options_.elements_at_once || can_be_split(*tensor.target.codec, settings));
}

std::optional<LayerRounding::Outcome> LayerRounding::round(
    const plan::TensorPlan& tensor, const at::Tensor& weight, float largest,
    const std::optional<std::chrono::steady_clock::time_point>& deadline) {
  const plan::Target& target = tensor.target;
  auto nearest = this->nearest(tensor, weight, largest);
  if (!nearest) return std::nullopt;
  LayerMethods::Choice choice = methods_.choice(tensor);
  if (deadline) optimize::set_deadline(choice.settings, *deadline);
  const bool plain =
      choice.settings.method == Method::kNearest && (choice.settings.scales == optimize::Scales::kAbsmax ||
                                                     choice.settings.scales == optimize::Scales::kUsual);
  if (plain || weight.numel() == 0) return Outcome{std::move(*nearest), std::nullopt};
  const bool large = weight.numel() > options_.elements_at_once;
  if (large && !can_be_split(*target.codec, choice.settings)) {
    warn("tensor '{}' is too large for {} (more than {} elements): it is rounded to nearest",
         printable(tensor.source->name()), choice.label(), options_.elements_at_once);
    return Outcome{std::move(*nearest), std::nullopt};
  }

  const std::string name(tensor.source->layer());
  std::optional<optimize::SecondMoment> moment;
  if (optimize::takes_moment(choice.settings.method)) moment = moment_of(name, weight, choice, *nearest);
  std::string source = moment && moment->method == "implied" ? choice.source : "";
  const auto add_source = [&](const std::string& what) { source += source.empty() ? what : ", " + what; };
  if (choice.lora) add_source("LoRA");
  if (const int64_t segments = optimize::segments_of(choice.settings, weight.size(1)); segments > 1)
    add_source(fmt::format("{} segments", segments));
  if (large) {
    Optimized optimized = round_rows(*nearest, weight, choice.settings, *moment, options_.elements_at_once);
    optimized.source = source;
    return Outcome{std::move(*nearest), std::move(optimized)};
  }
  const optimize::Layer layer = optimize::make_layer(*nearest, weight);
  const optimize::Rounding rounding = moment ? optimize::round_one_pass(layer, choice.settings, *moment)
                                             : optimize::round_layer(layer, choice.settings, std::nullopt);
  Optimized optimized = describe(rounding);
  optimized.source = source;
  if (options_.measure_quality)
    optimized.subspace = measure_subspace(layer, rounding, choice.settings.learned.subspace);
  if (rounding.guarded) return Outcome{std::move(*nearest), std::move(optimized)};
  format::Encoded encoded = optimize::encode(*nearest, rounding);
  if (const auto& input = recorded_input(name);
      input && input->held_back.defined() && input->held_back.size(0) > 0) {
    const auto error = [&](const format::Encoded& of) {
      return metrics::output_rel(input->held_back, weight, format::decode(of));
    };
    optimized.output = OutputError{.nearest = error(*nearest), .stored = error(encoded)};
    if (!(optimized.output->stored < optimized.output->nearest)) {
      optimized.guarded = true;
      optimized.output->stored = optimized.output->nearest;
      return Outcome{std::move(*nearest), std::move(optimized)};
    }
  }
  return Outcome{std::move(encoded), std::move(optimized)};
}

double LayerRounding::error(const plan::TensorPlan& tensor, const at::Tensor& weight,
                            const Outcome& outcome) {
  if (outcome.optimized && outcome.optimized->output) return outcome.optimized->output->stored;
  const at::Tensor decoded = format::decode(outcome.encoded);
  if (const at::Tensor rows = held_back(tensor); rows.defined())
    return metrics::output_rel(rows, weight, decoded);
  return metrics::weight_error(weight, decoded).weight_rel;
}

std::string_view LayerRounding::error_name(const plan::TensorPlan& tensor) {
  return held_back(tensor).defined() ? "output_rel" : "weight_rel";
}

at::Tensor LayerRounding::held_back(const plan::TensorPlan& tensor) {
  const auto& input = recorded_input(std::string(tensor.source->layer()));
  const bool any = input && input->held_back.defined() && input->held_back.size(0) > 0;
  return any ? input->held_back : at::Tensor();
}

optimize::SecondMoment LayerRounding::moment_of(const std::string& layer, const at::Tensor& weight,
                                                const LayerMethods::Choice& choice,
                                                const format::Encoded& nearest) {
  optimize::SecondMoment moment =
      optimize::second_moment(weight, choice.settings, known_moment(layer, choice));
  if (choice.lora) {
    at::Tensor directions = options_.lora->directions(layer, weight.size(1)).to(options_.device);
    if (const at::Tensor factors = input_factors(layer); factors.defined())
      directions = divided(directions, factors);
    // As much as all that is known besides.
    moment.h = moment.h + directions * moment.h.diagonal().mean();
  }
  return optimize::in_code_space(std::move(moment), nearest);
}

at::Tensor LayerRounding::input_mean(const plan::TensorPlan& tensor) {
  if (options_.bias_correction == BiasCorrection::kNone) return {};
  const std::string layer(tensor.source->layer());
  if (const auto& input = recorded_input(layer); input && input->mean.defined()) return input->mean;
  if (options_.bias_correction != BiasCorrection::kNorm) return {};
  if (!methods_.implied().source(layer).starts_with("norm ")) return {};
  const auto& moments = implied_moments(layer);
  return moments ? moments->mean : at::Tensor();
}

std::optional<optimize::KnownMoment> LayerRounding::known_moment(const std::string& layer,
                                                                 const LayerMethods::Choice& choice) {
  if (choice.recorded) {
    const auto& input = recorded_input(layer, /*with_second=*/true);
    if (input && input->second.defined())
      return optimize::KnownMoment{.h = input->second, .recorded = true, .rows = input->rows};
  }
  if (choice.source.empty()) return std::nullopt;
  const auto& moments = implied_moments(layer);
  if (!moments) return std::nullopt;
  return optimize::KnownMoment{.h = moments->second, .recorded = false, .rows = 0};
}

at::Tensor LayerRounding::input_factors(const std::string& layer) const {
  const at::Tensor factors = smoothing_ ? smoothing_->factors(layer) : at::Tensor();
  return factors.defined() ? factors.to(options_.device) : factors;
}

const std::optional<calibrate::RecordedInput>& LayerRounding::recorded_input(const std::string& layer,
                                                                             bool with_second) {
  const at::Tensor factors = input_factors(layer);
  const std::string recorded = options_.recording ? options_.recording->key(layer) : "";
  const std::string key = input_key(recorded, layer, factors);
  if (key == recorded_key_ && (recorded_with_second_ || !with_second)) return recorded_;
  recorded_ = recorded.empty() ? std::nullopt : options_.recording->load(layer, options_.device, with_second);
  recorded_with_second_ = with_second;
  if (with_second && recorded_ && recorded_->rows > 0 && recorded_->rows < optimize::kEnoughRows)
    warn("calibration data of '{}': only {} rows to learn from; its second moment is damped more",
         printable(layer), recorded_->rows);
  if (recorded_ && factors.defined()) {
    for (at::Tensor* vectors : {&recorded_->mean, &recorded_->channel_max, &recorded_->held_back})
      if (vectors->defined()) *vectors = *vectors / factors;
    if (recorded_->second.defined()) recorded_->second = divided(recorded_->second, factors);
  }
  recorded_key_ = key;
  return recorded_;
}

const std::optional<calibrate::InputMoments>& LayerRounding::implied_moments(const std::string& layer) {
  const at::Tensor factors = input_factors(layer);
  const std::string key = input_key(methods_.implied().input_key(layer), layer, factors);
  if (key == cached_key_) return cached_moments_;
  cached_moments_ =
      methods_.implied().moments(layer, options_.optimizer.seed, calibrate::kImpliedRows, options_.device);
  if (cached_moments_ && factors.defined()) {
    cached_moments_->mean = cached_moments_->mean / factors;
    cached_moments_->second = divided(cached_moments_->second, factors);
  }
  cached_key_ = key;
  return cached_moments_;
}

}  // namespace ctq::pipeline
