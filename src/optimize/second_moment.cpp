#include "optimize/second_moment.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "linalg/panels.h"

namespace ctq::optimize {
namespace {

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

std::string one_pass_name(const Settings& settings, const SecondMoment& moment) {
  return settings.optimizer->names_itself ? std::string(settings.optimizer->name)
                                          : std::string(origin_name(moment.origin));
}

}  // namespace

std::string_view origin_name(Origin origin) {
  switch (origin) {
    case Origin::kRecordedRows: return "gptq";
    case Origin::kCheckpoint: return "implied";
    case Origin::kRandomRows: return "drawn";
    case Origin::kWeight: return "direct";
  }
  return "";
}

Footprint moment_footprint(const Settings& settings, const Space& space, double rows) {
  const auto segments = static_cast<double>(segments_of(settings, space.in_features));
  Footprint footprint{.rows = rows,
                      .moments = segments > 1 ? 1 + 1 / segments + 2 / (segments * segments) : 3};
  if (settings.optimizer->incoherent || space.rotated) footprint.moments += 1;
  return footprint;
}

Footprint one_pass_footprint(const Settings& settings, const Space& space) {
  return moment_footprint(settings, space,
                          searches_scales(settings, space.codec) ? kSearchedRows : kOnePassRows);
}

OnePassSettings one_pass_settings(const Layer& layer, const Settings& settings, const SecondMoment& moment) {
  OnePassSettings one_pass{.lambda = moment.lambda,
                           .sweeps = moment.sweeps,
                           .scales = scales_for(layer, settings.scales),
                           .order = moment.order,
                           .recursion = settings.recursion,
                           .segments = segments_of(settings, layer.weight.size(1))};
  if (settings.optimizer->by_gradients) one_pass.adaround = settings.adaround;
  return one_pass;
}

namespace {

/// Nothing where it is to be made from the weight.
std::optional<SecondMoment> moment_besides_weight(const at::Tensor& weight, const Settings& settings,
                                                  const std::optional<KnownMoment>& known) {
  const Optimizer& optimizer = *settings.optimizer;
  if (known && known->recorded && optimizer.needs.recorded) {
    SecondMoment moment{.h = known->h,
                        .lambda = known->lambda.value_or(settings.recorded_lambda),
                        .sweeps = settings.sweeps,
                        .origin = Origin::kRecordedRows};
    if (settings.tries_damping && known->rows > 0 && known->rows < kEnoughRows)
      moment.lambda *= static_cast<double>(kEnoughRows) / static_cast<double>(known->rows);
    if (optimizer.order) moment.order = optimizer.order(settings);
    return moment;
  }
  if (known && !known->recorded && optimizer.needs.implied)
    return SecondMoment{.h = known->h,
                        .lambda = settings.implied_lambda,
                        .sweeps = settings.sweeps,
                        .origin = Origin::kCheckpoint};
  if (settings.drawn_rows > 0 && optimizer.needs.drawn) {
    return SecondMoment{.h = drawn_moment(settings, weight.size(1), weight.device()),
                        .lambda = settings.implied_lambda,
                        .sweeps = settings.sweeps,
                        .origin = Origin::kRandomRows};
  }
  return std::nullopt;
}

SecondMoment moment_of_weight(const at::Tensor& weight, const Settings& settings) {
  // Damped already.
  return {.h = direct_second_moment(weight, settings.direct),
          .lambda = 0,
          .sweeps = settings.direct_sweeps,
          .origin = Origin::kWeight};
}

/// The weight in the basis of its codes. BF16 stays BF16, whose rounding is nothing beside what a part of low
/// rank leaves out.
at::Tensor turned(const at::Tensor& weight, const format::Encoded& like) {
  if (!weight.is_cpu() || like.codec->incoherent) return format::in_code_space(weight.to(at::kFloat), like);
  const at::ScalarType type = weight.scalar_type() == at::kBFloat16 ? at::kBFloat16 : at::kFloat;
  at::Tensor result = at::empty_like(weight, weight.options().dtype(type), at::MemoryFormat::Contiguous);
  linalg::for_panels(weight.size(0), [&](int64_t row, int64_t rows) {
    result.narrow(0, row, rows).copy_(format::in_code_space(weight.narrow(0, row, rows), like));
  });
  return result;
}

}  // namespace

SecondMoment second_moment(const at::Tensor& weight, const Settings& settings,
                           const std::optional<KnownMoment>& known) {
  if (auto moment = moment_besides_weight(weight, settings, known)) return std::move(*moment);
  return moment_of_weight(weight, settings);
}

SecondMoment in_code_space(SecondMoment moment, const format::Encoded& like) {
  moment.h = format::moment_in_code_space(moment.h, like);
  return moment;
}

SecondMoment second_moment(const at::Tensor& weight, const Settings& settings,
                           const std::optional<KnownMoment>& known, const format::Encoded& like) {
  if (auto moment = moment_besides_weight(weight, settings, known))
    return in_code_space(std::move(*moment), like);
  // One that is no matrix is made where it is used, with the diagonal that it has there.
  if (format::is_turned(like) && weight.size(1) >= linalg::kSamplesFrom)
    return moment_of_weight(turned(weight, like), settings);
  return in_code_space(moment_of_weight(weight, settings), like);
}

int64_t segments_of(const Settings& settings, int64_t in_features) {
  return in_features >= settings.segments_from ? std::min(settings.segments, in_features) : 1;
}

Rounding round_one_pass(const Layer& layer, const Settings& settings, const SecondMoment* moment) {
  TORCH_INTERNAL_ASSERT(moment != nullptr);
  return round_with_second_moment(layer, moment->h, one_pass_settings(layer, settings, *moment),
                                  one_pass_name(settings, *moment));
}

SecondMomentRounding one_pass_by_rows(const Layer& like, const Settings& settings,
                                      const SecondMoment& moment) {
  TORCH_INTERNAL_ASSERT(settings.optimizer->by_rows);
  return {moment.h, one_pass_settings(like, settings, moment), like, one_pass_name(settings, moment)};
}

}  // namespace ctq::optimize
