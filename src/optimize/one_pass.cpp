#include "ctq/optimize/one_pass.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <ATen/ATen.h>

#include "ctq/linalg/cholesky.h"
#include "optimize/minimizer.h"

namespace ctq::optimize {
namespace {

constexpr int64_t kGramRows = 1 << 15;  // in float32 at a time

/// Less than this share of a cost is a gain: what is more may be the rounding of float32 sums.
constexpr double kNoGain = 1 - 1e-6;

/// Identity added to the projector of the subspace, so that directions outside it are not free.
constexpr double kSubspaceDamping = 0.02;

/// A choice of codes with its scales.
struct Choice {
  at::Tensor values, scale;
  at::Tensor cost;  ///< e H' e^T per row of the error, [out_features] float64
};

/// What is best under tr(E H' E^T) so far.
class Search {
 public:
  Search(const Layer& layer, const Minimizer& minimizer) : layer_(layer), minimizer_(minimizer) {
    best_ = measured({layer.nearest, layer.scale, {}});
    nearest_ = total();
  }
  const Choice& best() const { return best_; }
  double nearest() const { return nearest_; }
  double total() const { return best_.cost.sum().item<double>(); }

  Choice measured(Choice choice) const {
    choice.cost = minimizer_.costs(error_of(layer_, choice.values, choice.scale));
    return choice;
  }
  void offer(const Choice& choice, bool same_scales) { best_ = better(best_, choice, same_scales); }
  /// Row by row where no scale is shared between rows, or scales are the same; else all or nothing.
  Choice better(const Choice& a, const Choice& b, bool same_scales) const {
    if (layer_.tiling.rows > 1 && !same_scales)
      return b.cost.sum().item<double>() < kNoGain * a.cost.sum().item<double>() ? b : a;
    const at::Tensor second = b.cost < a.cost * kNoGain, rows = second.unsqueeze(1);
    return {at::where(rows, b.values, a.values), same_scales ? a.scale : at::where(rows, b.scale, a.scale),
            at::where(second, b.cost, a.cost)};
  }

 private:
  const Layer& layer_;
  const Minimizer& minimizer_;
  Choice best_;
  double nearest_ = 0;
};

/// layer: with the scales to use.
Choice solve(const Layer& layer, const Search& search, const Minimizer& minimizer,
             const OnePassSettings& settings) {
  const auto swept = [&](Choice choice) {
    if (settings.sweeps > 0) {
      Layer scaled = layer;
      scaled.scale = choice.scale;
      choice.values = minimizer.sweep(scaled, choice.values, settings.sweeps);
    }
    return search.measured(std::move(choice));
  };
  Choice fed_back;
  fed_back.scale = layer.scale;
  fed_back.values = minimizer.round(layer, layer.weight, &fed_back.cost);
  if (settings.sweeps > 0 || !is_linear(layer) || !fed_back.cost.defined())
    fed_back = swept(std::move(fed_back));
  if (settings.scales != Scales::kRefit) return fed_back;
  // Other codes are best for other scales.
  const Choice refitted =
      swept({fed_back.values, refit_scales(layer, fed_back.values, layer.scale, minimizer.h()), {}});
  return search.better(fed_back, refitted, /*same_scales=*/false);
}

}  // namespace

Rounding round_with_second_moment(const Layer& layer, const at::Tensor& h, const OnePassSettings& settings,
                                  std::string method) {
  Rounding rounding;
  rounding.values = layer.nearest;
  rounding.scale = layer.scale;
  rounding.method = std::move(method);
  rounding.objective = "trace";
  rounding.guarded = true;
  const bool fixed_scales = settings.scales == Scales::kAbsmax;
  const auto minimizer = settings.adaround ? minimize_by_adaround(h, settings)
                         : settings.segments > 1
                             ? minimize_in_segments(layer, h, settings)
                             : minimize_at_once(h, settings, /*with_h=*/settings.sweeps > 0 || !fixed_scales);
  if (!minimizer) return rounding;
  Search search(layer, *minimizer);
  search.offer(solve(layer, search, *minimizer, settings),
               /*same_scales=*/fixed_scales || settings.scales == Scales::kSearch);
  if (!fixed_scales)
    search.offer(solve(search_scales(layer, minimizer->h()), search, *minimizer, settings), false);

  if (settings.also.defined()) {
    Layer best = layer;
    best.scale = search.best().scale;
    at::Tensor values = minimizer->round(best, settings.also, nullptr);
    search.offer(search.measured({std::move(values), best.scale, {}}), /*same_scales=*/true);
  }

  if (minimizer->ended_early()) rounding.stopped_by = "time";
  const double mean = h.diagonal().mean().item<double>() * (1 + minimizer->lambda());
  const double whole = layer.weight.square().sum(at::kDouble).item<double>() * mean;
  const double unit = whole > 0 ? whole : 1;
  rounding.nearest_objective = search.nearest() / unit;
  rounding.objective_value = rounding.nearest_objective;
  rounding.iterations = settings.sweeps;
  if (!(search.total() < kNoGain * search.nearest())) return rounding;
  rounding.guarded = false;
  rounding.values = search.best().values;
  rounding.scale = search.best().scale;
  rounding.objective_value = search.total() / unit;
  return rounding;
}

at::Tensor direct_second_moment(const at::Tensor& weight, const DirectSettings& settings) {
  at::Tensor h;
  if (settings.objective == DirectObjective::kMixed) {
    h = at::zeros({weight.size(1), weight.size(1)}, weight.options().dtype(at::kFloat));
    for (int64_t row = 0; row < weight.size(0); row += kGramRows)
      h.add_(linalg::gram(weight.narrow(0, row, std::min(kGramRows, weight.size(0) - row)).to(at::kFloat)));
    const at::Tensor mean =
        h.diagonal().mean().clamp_min(1e-30);  // an all-zero weight has no direction to prefer
    h.div_(mean).diagonal().add_(settings.damping);
    return h;
  }
  const linalg::LowRank leading = leading_vectors(weight.to(at::kFloat), settings.subspace);
  h = linalg::gram(leading.v.t().contiguous());
  h.diagonal().add_(kSubspaceDamping);
  return h;
}

}  // namespace ctq::optimize
