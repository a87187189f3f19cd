#include "ctq/optimize/one_pass.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "ctq/linalg/coordinate_descent.h"
#include "ctq/linalg/ldlq.h"
#include "ctq/linalg/svd.h"

namespace ctq::optimize {
namespace {

/// Identity added to the projector of the subspace, so that directions outside it are not free.
constexpr double kSubspaceDamping = 0.02;

double trace_objective(const Layer& layer, const at::Tensor& values, const at::Tensor& damped) {
  return linalg::objective_rows(error_of(layer, values), damped).sum().item<double>();
}

Rounding keep_nearest(const Layer& layer, Rounding rounding) {
  rounding.values = layer.nearest;
  rounding.objective_value = rounding.nearest_objective;
  rounding.guarded = true;
  return rounding;
}

}  // namespace

Rounding round_with_second_moment(const Layer& layer, const at::Tensor& h, const OnePassSettings& settings,
                                  std::string method) {
  Rounding rounding;
  rounding.method = std::move(method);
  rounding.objective = "trace";
  rounding.iterations = settings.sweeps;

  const linalg::FeedbackFactor factor = linalg::damped_factor(h, settings.lambda, settings.order);
  at::Tensor damped = h.clone();
  damped.diagonal().add_(h.diagonal().mean().mul(factor.lambda));
  const double whole = linalg::objective_rows(layer.weight, damped).sum().item<double>();
  const double unit = whole > 0 ? whole : 1;
  rounding.nearest_objective = trace_objective(layer, layer.nearest, damped) / unit;
  if (!factor.ok) return keep_nearest(layer, std::move(rounding));

  const linalg::Code code = layer.grid->code();
  at::Tensor values = linalg::ldlq_round(layer.weight, factor, layer.tiling, code, layer.scale);
  if (settings.sweeps > 0) {
    values = linalg::coordinate_descent(values, layer.weight, damped, layer.tiling, code, layer.scale,
                                        settings.sweeps);
  }
  rounding.objective_value = trace_objective(layer, values, damped) / unit;
  if (!(rounding.objective_value < rounding.nearest_objective))
    return keep_nearest(layer, std::move(rounding));
  rounding.values = std::move(values);
  return rounding;
}

at::Tensor direct_second_moment(const at::Tensor& weight, const DirectSettings& settings) {
  at::Tensor h;
  if (settings.objective == DirectObjective::kMixed) {
    h = linalg::gram(weight);
    const at::Tensor mean =
        h.diagonal().mean().clamp_min(1e-30);  // an all-zero weight has no direction to prefer
    h.div_(mean).diagonal().add_(settings.damping);
    return h;
  }
  const int64_t rank = std::min(weight.size(0), weight.size(1));
  const auto share = static_cast<int64_t>(settings.top_p * static_cast<double>(rank));
  const int64_t k = std::min(rank, std::min(settings.max_k, std::max(settings.min_k, share)));
  // Weights have slowly decaying spectra: a few spare columns would miss part of the leading subspace.
  const linalg::LowRank leading =
      settings.full_svd
          ? linalg::thin_svd(weight, k)
          : linalg::randomized_svd(weight, k, at::make_generator<at::CPUGeneratorImpl>(settings.seed),
                                   /*oversample=*/k);
  h = linalg::gram(leading.v.t().contiguous());
  h.diagonal().add_(kSubspaceDamping);
  return h;
}

}  // namespace ctq::optimize
