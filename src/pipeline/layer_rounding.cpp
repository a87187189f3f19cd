#include "layer_rounding.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "bank.h"
#include "base/cancel.h"
#include "base/log.h"
#include "base/text.h"
#include "layer_memory.h"
#include "linalg/tiles.h"
#include "metrics/error_sum.h"
#include "model/weight_shape.h"
#include "optimize/subspace.h"

namespace ctq::pipeline {
namespace {

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

/// Rounds some rows at a time, in place.
Optimized round_rows(format::Encoded& encoded, const at::Tensor& weight, const optimize::Settings& settings,
                     const optimize::SecondMoment& moment, int64_t rows_at_once) {
  Optimized all;
  double whole = 0;
  std::optional<optimize::SecondMomentRounding> one_pass;
  for (int64_t row = 0; row < weight.size(0); row += rows_at_once) {
    const int64_t count = std::min(rows_at_once, weight.size(0) - row);
    format::Encoded part = format::rows_of(encoded, row, count);
    const optimize::Layer layer = optimize::make_layer(part, weight.narrow(0, row, count));
    if (!one_pass) one_pass.emplace(optimize::one_pass_by_rows(layer, settings, moment));
    const optimize::Rounding rounding = one_pass->round_part(layer);
    const double share = layer.weight.square().sum(at::kDouble).item<double>();
    const Optimized before = std::exchange(all, describe(rounding));
    all.nearest_objective = before.nearest_objective + share * rounding.nearest_objective;
    all.objective = before.objective + share * rounding.objective_value;
    whole += share;
    if (rounding.guarded) continue;
    const format::Encoded chosen = optimize::encode(part, rounding);
    part.codes.copy_(chosen.codes);
    part.scales.copy_(chosen.scales);
  }
  if (whole > 0) all.nearest_objective /= whole, all.objective /= whole;
  all.guarded = !optimize::SecondMomentRounding::has_gained(all.objective, all.nearest_objective);
  if (all.guarded) all.objective = all.nearest_objective;
  return all;
}

/// The weight's largest magnitude, where float32 cannot hold what optimizers sum up, squares of values and of
/// much smaller errors: they could tell no codes apart. 0: it can.
float beyond_squares(const at::Tensor& weight, const format::Encoded& nearest) {
  constexpr float kLeast = 1e-15f, kMost = 1e15f;
  const auto most_of = [](const at::Tensor& x) { return x.numel() > 0 ? x.abs().max().item<float>() : 0.0f; };
  float largest = most_of(nearest.scales) * nearest.codec->grid().max_abs();
  if (nearest.zeros.defined()) largest = std::max(largest, most_of(nearest.zeros));
  if (largest >= kLeast && largest <= kMost) return 0;
  return linalg::extent(weight).amax;
}

}  // namespace

std::optional<format::Encoded> LayerRounding::nearest_matrix(const plan::TensorPlan& tensor,
                                                             const at::Tensor& weight, float largest) const {
  const plan::Target& target = tensor.target;
  return largest > 0 ? format::encode_nearest_reaching(*target.codec, weight, largest)
                     : format::encode_nearest(*target.codec, weight, target.block_size, target.rotation_group,
                                              options_.optimizer.quip_seed);
}

std::optional<std::vector<format::Encoded>> LayerRounding::nearest(const plan::TensorPlan& tensor,
                                                                   const at::Tensor& weight,
                                                                   float largest) const {
  std::vector<format::Encoded> encoded;
  for (const at::Tensor& matrix : matrices_of(weight)) {
    auto one = nearest_matrix(tensor, matrix, largest);
    if (!one) return std::nullopt;
    encoded.push_back(std::move(*one));
  }
  return encoded;
}

bool LayerRounding::optimizes(const plan::TensorPlan& tensor) const {
  const LayerMethods::Choice choice = methods_.choice(tensor);
  const LayerWork work = layer_work(tensor, choice, options_, at::kCPU);
  return choice.settings.optimizer != &optimize::kNearest && work.rows * work.columns > 0 &&
         steps_within(work, options_.memory.layer_bytes);
}

std::optional<LayerRounding::Outcome> LayerRounding::round(const plan::TensorPlan& tensor,
                                                           const at::Tensor& weight, const Bounds& bounds) {
  work_on(weight.device());
  const std::vector<at::Tensor> matrices = matrices_of(weight);
  Outcome outcome;
  OptimizedBank bank;
  std::optional<Optimized> last;
  for (size_t i = 0; i < matrices.size(); ++i) {
    if (i > 0) throw_if_cancelled();
    Bounds share = bounds;
    if (bounds.deadline) {  // experts that are left share the time that is left
      const auto now = std::chrono::steady_clock::now();
      share.deadline = now + (*bounds.deadline - now) / static_cast<int64_t>(matrices.size() - i);
    }
    auto one = round_matrix(tensor, matrices[i], share);
    if (!one) return std::nullopt;
    outcome.encoded.push_back(std::move(one->encoded));
    last = std::move(one->optimized);
    if (last && matrices.size() > 1) bank.add(*last, matrices[i]);
  }
  outcome.optimized = matrices.size() > 1 ? bank.all() : std::move(last);
  return outcome;
}

std::optional<LayerRounding::MatrixOutcome> LayerRounding::round_matrix(const plan::TensorPlan& tensor,
                                                                        const at::Tensor& weight,
                                                                        const Bounds& bounds) {
  auto nearest = nearest_matrix(tensor, weight, bounds.largest);
  if (!nearest) return std::nullopt;
  LayerMethods::Choice choice = methods_.choice(tensor);
  if (bounds.deadline) optimize::set_deadline(choice.settings, *bounds.deadline);
  const bool plain = choice.settings.optimizer == &optimize::kNearest &&
                     !optimize::searches_scales(choice.settings, *tensor.target.codec);
  if (plain || weight.numel() == 0) return MatrixOutcome{std::move(*nearest), std::nullopt};
  if (const float largest = beyond_squares(weight, *nearest); largest > 0) {
    warn_of(tensor, fmt::format("has values up to {:.6g}, whose squares float32 cannot hold", largest));
    return MatrixOutcome{std::move(*nearest), std::nullopt};
  }
  const LayerWork work = layer_work(tensor, choice, options_, device_);
  const auto steps = steps_within(work, bounds.layer_bytes);
  if (!steps) {
    warn_of(tensor, fmt::format("is too large for {}: it would take {} of memory, and {} are free for it",
                                choice.label(), human_bytes(smallest_steps(work).bytes),
                                human_bytes(bounds.layer_bytes)));
    return MatrixOutcome{std::move(*nearest), std::nullopt};
  }
  choice.settings = with_steps(choice.settings, *steps);

  const std::string name(tensor.source->layer());
  std::optional<optimize::SecondMoment> moment;
  if (choice.settings.optimizer->needs.moment) moment = moment_of(name, weight, choice, *nearest);
  std::string source = moment && moment->origin == optimize::Origin::kCheckpoint ? choice.source : "";
  const auto add_source = [&](const std::string& what) { source += source.empty() ? what : ", " + what; };
  if (choice.lora) add_source("LoRA");
  if (const std::string words = steps->words(); !words.empty()) add_source(words);

  MatrixOutcome outcome;
  if (steps->rows_at_once < weight.size(0)) {
    outcome.encoded = *nearest;
    outcome.encoded.codes = nearest->codes.clone(), outcome.encoded.scales = nearest->scales.clone();
    outcome.optimized =
        round_rows(outcome.encoded, weight, choice.settings, moment.value(), steps->rows_at_once);
  } else {
    const optimize::Layer layer = optimize::make_layer(*nearest, weight);
    const optimize::Rounding rounding =
        choice.settings.optimizer->round(layer, choice.settings, moment ? &*moment : nullptr);
    outcome.optimized = describe(rounding);
    if (options_.measure_quality)
      outcome.optimized->subspace = measure_subspace(layer, rounding, choice.settings.learned.subspace);
    if (!rounding.guarded) outcome.encoded = optimize::encode(*nearest, rounding);
  }
  outcome.optimized->source = source;
  moment.reset();
  if (!outcome.optimized->guarded) guard_output(tensor, weight, *nearest, outcome);
  if (outcome.optimized->guarded) outcome.encoded = std::move(*nearest);
  return outcome;
}

void LayerRounding::warn_of(const plan::TensorPlan& tensor, const std::string& what) {
  if (std::exchange(warned_of_, &tensor) == &tensor) return;
  warn("tensor '{}' {}; it is rounded to nearest", printable(tensor.source->name()), what);
}

void LayerRounding::guard_output(const plan::TensorPlan& tensor, const at::Tensor& weight,
                                 const format::Encoded& nearest, MatrixOutcome& outcome) {
  const at::Tensor rows = held_back(tensor);
  if (!rows.defined()) return;
  const auto error = [&](const format::Encoded& of) {
    return metrics::output_rel(rows, weight, format::decode(of));
  };
  OutputError output{.nearest = error(nearest), .stored = error(outcome.encoded)};
  outcome.optimized->guarded = !(output.stored < output.nearest);
  if (outcome.optimized->guarded) output.stored = output.nearest;
  outcome.optimized->output = output;
}

void LayerRounding::work_on(at::Device device) {
  if (device == device_) return;
  device_ = device;
  forget();
}

void LayerRounding::forget() {
  cached_key_.clear(), recorded_key_.clear();
  cached_moments_.reset(), recorded_.reset();
}

double LayerRounding::error(const plan::TensorPlan& tensor, const at::Tensor& weight,
                            const Outcome& outcome) {
  if (outcome.optimized && outcome.optimized->output) return outcome.optimized->output->stored;
  if (const at::Tensor rows = held_back(tensor); rows.defined())
    return metrics::output_rel(rows, weight, format::decode(outcome.encoded.front()));
  metrics::WeightErrorSum error;
  const std::vector<at::Tensor> matrices = matrices_of(weight);
  for (size_t i = 0; i < matrices.size(); ++i) error.add(matrices[i], format::decode(outcome.encoded[i]));
  return error.error().weight_rel;
}

std::string_view LayerRounding::error_name(const plan::TensorPlan& tensor) {
  return held_back(tensor).defined() ? "output_rel" : "weight_rel";
}

at::Tensor LayerRounding::held_back(const plan::TensorPlan& tensor) {
  if (model::weight_shape(*tensor.source).experts > 0) return {};
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
    at::Tensor directions = options_.lora->directions(layer, weight.size(1)).to(device_);
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
  if (methods_.implied().kind(layer) != calibrate::Implied::kNorm) return {};
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
  return factors.defined() ? factors.to(device_) : factors;
}

const std::optional<calibrate::RecordedInput>& LayerRounding::recorded_input(const std::string& layer,
                                                                             bool with_second) {
  const at::Tensor factors = input_factors(layer);
  const std::string recorded = options_.recording ? options_.recording->key(layer) : "";
  const std::string key = input_key(recorded, layer, factors);
  if (key == recorded_key_ && (recorded_with_second_ || !with_second)) return recorded_;
  forget();
  recorded_ = recorded.empty() ? std::nullopt : options_.recording->load(layer, device_, with_second);
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
  forget();
  cached_moments_ =
      methods_.implied().moments(layer, options_.optimizer.seed, calibrate::kImpliedRows, device_);
  if (cached_moments_ && factors.defined()) {
    cached_moments_->mean = cached_moments_->mean / factors;
    cached_moments_->second = divided(cached_moments_->second, factors);
  }
  cached_key_ = key;
  return cached_moments_;
}

}  // namespace ctq::pipeline
