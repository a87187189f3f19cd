#include "ctq/optimize/optimizer.h"

#include <algorithm>
#include <array>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "ctq/optimize/quip.h"

namespace ctq::optimize {
namespace {

constexpr std::array<std::string_view, 12> kNames = {"rtn",     "original", "adamw",  "radam",
                                                     "prodigy", "tpec",     "direct", "implied",
                                                     "gptq",    "quip",     "auto",   "adaround"};

LearnedMethod learned_method(Method method) {
  switch (method) {
    case Method::kAdamW: return LearnedMethod::kAdamW;
    case Method::kRAdam: return LearnedMethod::kRAdam;
    case Method::kProdigy: return LearnedMethod::kProdigy;
    case Method::kTpec: return LearnedMethod::kTpec;
    default: return LearnedMethod::kOriginal;
  }
}

/// X^T X / n of n standard normal rows.
at::Tensor drawn_moment(const Settings& settings, int64_t in_features, at::Device device) {
  const auto random = at::make_generator<at::CPUGeneratorImpl>(settings.seed);
  const at::TensorOptions options(at::kFloat);
  at::Tensor h = at::zeros({in_features, in_features}, options.device(device));
  const int64_t at_once = settings.drawn_at_once > 0 ? settings.drawn_at_once : settings.drawn_rows;
  for (int64_t row = 0; row < settings.drawn_rows; row += at_once) {
    const int64_t rows = std::min(at_once, settings.drawn_rows - row);
    h.add_(linalg::gram(at::randn({rows, in_features}, random, options).to(device)));
  }
  return h.div_(settings.drawn_rows);
}

/// Nearest codes are known by their absmax scales, unless others are asked for.
Scales scales_to_nearest(const Layer& layer, const Settings& settings) {
  return settings.scales == Scales::kUsual ? Scales::kAbsmax : scales_for(layer, settings.scales);
}

/// Round to nearest with the scales of least ||E||.
Rounding round_to_nearest(const Layer& layer, Scales scales) {
  const double unit = std::max(layer.weight.square().sum(at::kDouble).item<double>(), 1e-300);
  const auto objective = [&](const at::Tensor& values, const at::Tensor& scale) {
    return error_of(layer, values, scale).square().sum(at::kDouble).item<double>() / unit;
  };
  Rounding rounding;
  rounding.values = layer.nearest;
  rounding.scale = layer.scale;
  rounding.method = "rtn";
  rounding.objective = "mse";
  if (scales == Scales::kAbsmax) return rounding;
  rounding.nearest_objective = rounding.objective_value = objective(layer.nearest, layer.scale);
  const Layer searched = search_scales(layer, /*h=*/{});
  at::Tensor scale = searched.scale;
  if (scales == Scales::kRefit) scale = refit_scales(layer, searched.nearest, scale, /*h=*/{});
  const double value = objective(searched.nearest, scale);
  rounding.guarded = !(value < rounding.nearest_objective);
  if (rounding.guarded) return rounding;
  rounding.values = searched.nearest;
  rounding.scale = scale;
  rounding.objective_value = value;
  return rounding;
}

OnePassSettings one_pass_settings(const Layer& layer, const Settings& settings, const SecondMoment& moment) {
  OnePassSettings one_pass{.lambda = moment.lambda,
                           .sweeps = moment.sweeps,
                           .scales = scales_for(layer, settings.scales),
                           .order = moment.order,
                           .recursion = settings.recursion,
                           .segments = segments_of(settings, layer.weight.size(1))};
  if (settings.method == Method::kAdaRound) one_pass.adaround = settings.adaround;
  return one_pass;
}

std::string one_pass_name(const Settings& settings, const SecondMoment& moment) {
  const bool by_itself = settings.method == Method::kAdaRound || settings.method == Method::kQuip;
  return by_itself ? std::string(method_name(settings.method)) : moment.method;
}

}  // namespace

std::string_view method_name(Method method) { return kNames.at(static_cast<size_t>(method)); }

std::optional<Method> method_of(std::string_view name) {
  const auto* const found = std::ranges::find(kNames, name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<Method>(found - kNames.begin());
}

bool is_learned(Method method) { return method >= Method::kOriginal && method <= Method::kTpec; }

bool heeds_deadline(Method method) { return is_learned(method) || method == Method::kAdaRound; }

bool takes_moment(Method method) { return method >= Method::kDirect; }

bool wants_implied(Method method) { return method == Method::kImplied || wants_recorded(method); }

bool wants_recorded(Method method) { return method >= Method::kGptq; }

bool searches_scales(const Settings& settings, const format::Codec& codec) {
  if (settings.scales == Scales::kUsual)
    return codec.grid().bits() == 4 && settings.method != Method::kNearest;
  return settings.scales != Scales::kAbsmax;
}

void set_deadline(Settings& settings, std::chrono::steady_clock::time_point deadline) {
  settings.learned.deadline = settings.adaround.deadline = deadline;
}

SecondMoment second_moment(const at::Tensor& weight, const Settings& settings,
                           const std::optional<KnownMoment>& known) {
  SecondMoment moment;
  if (known && known->recorded && wants_recorded(settings.method)) {
    moment = {.h = known->h, .lambda = settings.recorded_lambda, .sweeps = settings.sweeps, .method = "gptq"};
    if (known->rows > 0 && known->rows < kEnoughRows)
      moment.lambda *= static_cast<double>(kEnoughRows) / static_cast<double>(known->rows);
    if (settings.method == Method::kGptq) moment.order = settings.gptq_order;
    if (settings.method == Method::kQuip) moment.order = settings.quip_order;
    return moment;
  }
  if (known && !known->recorded && wants_implied(settings.method))
    return {.h = known->h, .lambda = settings.implied_lambda, .sweeps = settings.sweeps, .method = "implied"};
  if (settings.drawn_rows > 0 && settings.method == Method::kAdaRound) {
    return {.h = drawn_moment(settings, weight.size(1), weight.device()),
            .lambda = settings.implied_lambda,
            .sweeps = settings.sweeps,
            .method = "drawn"};
  }
  // Damped already.
  return {.h = direct_second_moment(weight, settings.direct),
          .lambda = 0,
          .sweeps = settings.direct_sweeps,
          .method = "direct"};
}

SecondMoment in_code_space(SecondMoment moment, const format::Encoded& like) {
  moment.h = format::moment_in_code_space(moment.h, like);
  return moment;
}

int64_t segments_of(const Settings& settings, int64_t in_features) {
  return in_features >= settings.segments_from ? std::min(settings.segments, in_features) : 1;
}

Rounding round_one_pass(const Layer& layer, const Settings& settings, const SecondMoment& moment) {
  const OnePassSettings one_pass = one_pass_settings(layer, settings, moment);
  const bool stays_transformed = layer.form.codec && layer.form.codec->incoherent;
  if (settings.method == Method::kQuip && !stays_transformed)
    return round_with_incoherence(
        layer, moment.h,
        {.one_pass = one_pass, .seed = settings.quip_seed, .hadamard = settings.quip_hadamard});
  return round_with_second_moment(layer, moment.h, one_pass, one_pass_name(settings, moment));
}

SecondMomentRounding one_pass_by_rows(const Layer& like, const Settings& settings,
                                      const SecondMoment& moment) {
  TORCH_INTERNAL_ASSERT(settings.method != Method::kQuip);
  return {moment.h, one_pass_settings(like, settings, moment), like, one_pass_name(settings, moment)};
}

Rounding round_layer(const Layer& layer, const Settings& settings, const std::optional<KnownMoment>& known) {
  if (settings.method == Method::kNearest) return round_to_nearest(layer, scales_to_nearest(layer, settings));
  if (is_learned(settings.method)) {
    LearnedSettings learned = settings.learned;
    learned.method = learned_method(settings.method);
    return learned_rounding(layer, learned);
  }
  return round_one_pass(layer, settings, second_moment(layer.weight, settings, known));
}

}  // namespace ctq::optimize
