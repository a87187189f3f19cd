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
#include "linalg/panels.h"
#include "linalg/tiles.h"
#include "metrics/error_sum.h"
#include "model/weight_shape.h"
#include "optimize/rows_apart.h"
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

SubspaceError measure_subspace(const format::Encoded& nearest, const format::Encoded& stored,
                               const at::Tensor& weight, const optimize::SubspaceSettings& settings) {
  optimize::Layer layer = optimize::make_layer(nearest, weight);
  const linalg::LowRank leading = optimize::leading_vectors(layer.weight, settings);
  const auto error = [&] {
    return optimize::subspace_rel(leading, layer.weight, error_of(layer, layer.nearest));
  };
  SubspaceError measured{.nearest = error(), .stored = 0};
  layer.nearest = layer.grid->values(stored.codes);
  layer.scale = stored.scales.reshape(layer.scale.sizes());
  measured.stored = error();
  return measured;
}

/// Rounds some rows at a time, in place.
Optimized round_rows(format::Encoded& encoded, const at::Tensor& weight, const optimize::Settings& settings,
                     const optimize::SecondMoment& moment, const LayerSteps& steps) {
  const auto count = [&](int64_t row) { return std::min(steps.part_rows, weight.size(0) - row); };
  const auto layer_of = [&](const format::Encoded& part, int64_t row) {
    return optimize::make_layer(part, weight.narrow(0, row, count(row)));
  };
  const optimize::SecondMomentRounding one_pass =
      optimize::one_pass_by_rows(layer_of(format::rows_of(encoded, 0, count(0)), 0), settings, moment);
  struct Done {
    optimize::Rounding rounding;
    double share = 0;
  };
  std::vector<Done> parts(static_cast<size_t>((weight.size(0) + steps.part_rows - 1) / steps.part_rows));
  const auto round_part = [&](int64_t i) {
    const int64_t row = i * steps.part_rows;
    format::Encoded part = format::rows_of(encoded, row, count(row));
    const optimize::Layer layer = layer_of(part, row);
    Done& done = parts[static_cast<size_t>(i)];
    done.rounding = one_pass.round_part(layer);
    done.share = layer.weight.square().sum(at::kDouble).item<double>();
    if (!done.rounding.guarded) {
      const format::Encoded chosen = optimize::encode(part, done.rounding);
      part.codes.copy_(chosen.codes);
      part.scales.copy_(chosen.scales);
    }
    done.rounding.values = done.rounding.scale = at::Tensor();
  };
  linalg::for_each_part(weight.device(), static_cast<int64_t>(parts.size()), round_part,
                        steps.rows_at_once / steps.part_rows);
  Optimized all = describe(parts.back().rounding);
  all.nearest_objective = all.objective = 0;
  double whole = 0;
  for (const auto& [rounding, share] : parts) {
    all.nearest_objective += share * rounding.nearest_objective;
    all.objective += share * rounding.objective_value;
    whole += share;
  }
  if (whole > 0) all.nearest_objective /= whole, all.objective /= whole;
  all.guarded = !optimize::SecondMomentRounding::has_gained(all.objective, all.nearest_objective);
  if (all.guarded) all.objective = all.nearest_objective;
  return all;
}

/// Layers with the same are rounded in the same space on the same grid.
std::string format_key(const format::Encoded& encoded) {
  return fmt::format("{} {}", encoded.codec->label(), encoded.rotation_group);
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
  device_ = weight.device();
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
  input_.turn_to(name, device_);
  const std::optional<Verdict> verdict = try_recorded(weight, choice, *nearest);
  if (verdict && verdict->plain) return MatrixOutcome{std::move(*nearest), verdict->kept()};
  if (verdict && !verdict->recorded) choice.recorded = false;
  std::optional<optimize::SecondMoment> moment;
  if (choice.settings.optimizer->needs.moment)
    moment = moment_of(name, weight, choice, *nearest, verdict ? &*verdict : nullptr);
  if (moment && steps->samples > 0) moment->h = moment->h.leading(steps->samples);
  std::string source = moment && moment->origin == optimize::Origin::kCheckpoint ? choice.source : "";
  const auto add_source = [&](const std::string& what) { source += source.empty() ? what : ", " + what; };
  if (choice.lora) add_source("LoRA");
  if (const std::string words = steps->words(); !words.empty()) add_source(words);

  MatrixOutcome outcome;
  if (steps->part_rows < weight.size(0)) {
    outcome.encoded = *nearest;
    outcome.encoded.codes = nearest->codes.clone(), outcome.encoded.scales = nearest->scales.clone();
    outcome.optimized = round_rows(outcome.encoded, weight, choice.settings, moment.value(), *steps);
  } else {
    const optimize::Layer layer = optimize::make_layer(*nearest, weight);
    const optimize::Rounding rounding =
        choice.settings.optimizer->round(layer, choice.settings, moment ? &*moment : nullptr);
    outcome.optimized = describe(rounding);
    if (!rounding.guarded) outcome.encoded = optimize::encode(*nearest, rounding);
  }
  outcome.optimized->source = source;
  if (moment && !moment->h.is_matrix()) outcome.optimized->samples = moment->h.rows().size(0);
  moment.reset();
  if (verdict) {
    outcome.optimized->output = verdict->output;
    outcome.optimized->calibration = verdict->use;
  } else if (!outcome.optimized->guarded) {
    guard_output(tensor, weight, *nearest, outcome);
  }
  if (outcome.optimized->guarded) outcome.encoded = *nearest;
  if (options_.measure_quality)
    outcome.optimized->subspace =
        measure_subspace(*nearest, outcome.encoded, weight, choice.settings.learned.subspace);
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

double LayerRounding::error(const plan::TensorPlan& tensor, const at::Tensor& weight,
                            const Outcome& outcome) {
  device_ = weight.device();
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
  input_.turn_to(std::string(tensor.source->layer()), device_);
  return input_.held_back();
}

std::optional<Verdict> LayerRounding::try_recorded(const at::Tensor& weight,
                                                   const LayerMethods::Choice& choice,
                                                   const format::Encoded& nearest) {
  const optimize::Settings& settings = choice.settings;
  if (!choice.recorded || !is_tried(settings, *nearest.codec, weight.size(1)) || input_.trial_sets().empty())
    return std::nullopt;
  const calibrate::RecordedInput& input = *input_.recorded();
  CalibrationTrial::Known known{.held_back = input_.trial_sets(),
                                .mean = input.mean,
                                .implied = {},
                                .of_pictures = input.rows.grouped_by == calibrate::GroupedBy::kPicture,
                                .data_free = {}};
  if (!input_.is_plentiful()) {  // else what was recorded is trusted before all else that is known
    const auto implied = implied_moment(choice);
    if (implied) known.implied = implied->h;
    known.data_free = optimize::second_moment(weight, settings, implied, nearest);
  }
  Verdict verdict = judge({.nearest = nearest, .weight = weight, .settings = settings}, known,
                          input_.damping_for(format_key(nearest)));
  verdict.use.rows = input.rows.rows.size(0);
  verdict.use.groups = input.rows.group_count;
  verdict.use.effective_rank = calibrate::effective_rank(input_.second());
  return verdict;
}

optimize::SecondMoment LayerRounding::moment_of(const std::string& layer, const at::Tensor& weight,
                                                const LayerMethods::Choice& choice,
                                                const format::Encoded& nearest, const Verdict* verdict) {
  const auto known = known_moment(layer, choice, verdict);
  if (!choice.lora) return optimize::second_moment(weight, choice.settings, known, nearest);
  optimize::SecondMoment moment = optimize::second_moment(weight, choice.settings, known);
  const at::Tensor directions = input_.divided(options_.lora->directions(layer, weight.size(1)).to(device_));
  // As much as all that is known besides.
  moment.h = moment.h.matrix() + directions * moment.h.diagonal().mean();
  return optimize::in_code_space(std::move(moment), nearest);
}

at::Tensor LayerRounding::input_mean(const plan::TensorPlan& tensor) {
  if (options_.bias_correction == BiasCorrection::kNone) return {};
  const std::string layer(tensor.source->layer());
  input_.turn_to(layer, device_);
  if (const auto* input = input_.recorded(); input && input->mean.defined()) return input->mean;
  if (options_.bias_correction != BiasCorrection::kNorm) return {};
  if (methods_.implied().form(layer).kind != calibrate::Implied::kNorm) return {};
  const auto& moments = input_.implied();
  return moments ? moments->mean : at::Tensor();
}

std::optional<optimize::KnownMoment> LayerRounding::known_moment(const std::string& layer,
                                                                 const LayerMethods::Choice& choice,
                                                                 const Verdict* verdict) {
  if (!choice.recorded) return implied_moment(choice);
  if (verdict) {
    const Damping& damping = verdict->damping;
    const linalg::Moment implied = damping.share > 0 ? input_.implied()->second : linalg::Moment();
    return optimize::KnownMoment{
        .h = blended(input_.second(), implied, damping.share), .recorded = true, .lambda = damping.lambda};
  }
  const linalg::Moment& second = input_.learned_second();
  if (!second.defined()) return implied_moment(choice);
  const calibrate::RecordedInput& input = *input_.recorded();
  const at::Tensor held_back = input_.held_back();
  const int64_t rows =
      input.second.defined() ? 0 : input.rows.rows.size(0) - (held_back.defined() ? held_back.size(0) : 0);
  if (rows > 0 && rows < optimize::kEnoughRows)
    warn("calibration data of '{}': only {} rows to learn from; its second moment is damped more",
         printable(layer), rows);
  return optimize::KnownMoment{.h = second, .recorded = true, .rows = rows};
}

std::optional<optimize::KnownMoment> LayerRounding::implied_moment(const LayerMethods::Choice& choice) {
  if (choice.source.empty()) return std::nullopt;
  const auto& moments = input_.implied();
  if (!moments) return std::nullopt;
  return optimize::KnownMoment{.h = moments->second};
}

}  // namespace ctq::pipeline
