#include "ctq/optimize/one_pass.h"

#include <utility>

#include <ATen/ATen.h>

#include "ctq/linalg/coordinate_descent.h"
#include "ctq/linalg/ldlq.h"

namespace ctq::optimize {
namespace {

/// Identity added to the projector of the subspace, so that directions outside it are not free.
constexpr double kSubspaceDamping = 0.02;

/// A choice of codes with its scales.
struct Choice {
  at::Tensor values, scale;
  at::Tensor cost;  ///< e H' e^T per row of the error, [out_features] float64
};

/// Choices for a layer under tr(E H' E^T).
class Search {
 public:
  Search(const Layer& layer, at::Tensor damped) : layer_(layer), damped_(std::move(damped)) {
    best_ = measured({layer.nearest, layer.scale, {}});
    const double whole = linalg::objective_rows(layer.weight, damped_).sum().item<double>();
    if (whole > 0) unit_ = whole;
    nearest_ = objective();
  }
  const at::Tensor& damped() const { return damped_; }
  const Choice& best() const { return best_; }
  double nearest_objective() const { return nearest_; }
  /// Relative to that of the weight.
  double objective() const { return best_.cost.sum().item<double>() / unit_; }

  Choice measured(Choice choice) const {
    choice.cost = linalg::objective_rows(error_of(layer_, choice.values, choice.scale), damped_);
    return choice;
  }

  /// Takes what is better: row by row where no scale is shared between rows, else all or nothing.
  static Choice better(const Layer& layer, const Choice& a, const Choice& b) {
    if (layer.tiling.rows > 1) return b.cost.sum().item<double>() < a.cost.sum().item<double>() ? b : a;
    const at::Tensor second = b.cost < a.cost, rows = second.unsqueeze(1);
    return {at::where(rows, b.values, a.values), at::where(rows, b.scale, a.scale),
            at::where(second, b.cost, a.cost)};
  }
  void offer(const Choice& choice) { best_ = better(layer_, best_, choice); }

 private:
  const Layer& layer_;
  at::Tensor damped_;
  Choice best_;
  double unit_ = 1;
  double nearest_ = 0;
};

/// layer: with the scales to use.
Choice solve(const Layer& layer, const Search& search, const linalg::FeedbackFactor& factor,
             const OnePassSettings& settings) {
  const linalg::Code code = layer.grid->code();
  const auto swept = [&](Choice choice) {
    if (settings.sweeps > 0)
      choice.values = linalg::coordinate_descent(choice.values, layer.weight, search.damped(), layer.tiling,
                                                 code, choice.scale, settings.sweeps);
    return search.measured(std::move(choice));
  };
  const Choice fed_back =
      swept({linalg::ldlq_round(layer.weight, factor, layer.tiling, code, layer.scale), layer.scale, {}});
  if (settings.scales != Scales::kRefit) return fed_back;
  // Other codes are best for other scales.
  const Choice refitted =
      swept({fed_back.values, refit_scales(layer, fed_back.values, layer.scale, search.damped()), {}});
  return Search::better(layer, fed_back, refitted);
}

}  // namespace

Rounding round_with_second_moment(const Layer& layer, const at::Tensor& h, const OnePassSettings& settings,
                                  std::string method) {
  const linalg::FeedbackFactor factor = linalg::damped_factor(h, settings.lambda, settings.order);
  at::Tensor damped = h.clone();
  damped.diagonal().add_(h.diagonal().mean().mul(factor.lambda));
  Search search(layer, std::move(damped));
  if (factor.ok) {
    search.offer(solve(layer, search, factor, settings));
    if (settings.scales != Scales::kAbsmax)
      search.offer(solve(search_scales(layer, search.damped()), search, factor, settings));
  }
  Rounding rounding;
  rounding.values = search.best().values;
  rounding.scale = search.best().scale;
  rounding.method = std::move(method);
  rounding.objective = "trace";
  rounding.nearest_objective = search.nearest_objective();
  rounding.objective_value = search.objective();
  rounding.iterations = settings.sweeps;
  rounding.guarded = !(rounding.objective_value < rounding.nearest_objective);
  if (rounding.guarded) {
    rounding.values = layer.nearest;
    rounding.scale = layer.scale;
    rounding.objective_value = rounding.nearest_objective;
  }
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
  const linalg::LowRank leading = leading_vectors(weight, settings.subspace);
  h = linalg::gram(leading.v.t().contiguous());
  h.diagonal().add_(kSubspaceDamping);
  return h;
}

}  // namespace ctq::optimize
