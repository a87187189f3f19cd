#include "optimize/one_pass.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "linalg/cholesky.h"
#include "linalg/panels.h"
#include "linalg/svd.h"
#include "optimize/minimizer.h"

namespace ctq::optimize {
namespace {

/// Less than this share of a cost is a gain: what is more may be the rounding of float32 sums.
constexpr double kNoGain = 1 - 1e-6;

/// Identity added to the projector of the subspace, so that directions outside it are not free.
constexpr double kSubspaceDamping = 0.02;

/// Of W^T W: with strong damping the others change little, and what they say of a layer's input is least
/// (docs/optimizers/direct.md).
constexpr int64_t kColumnsPerVector = 16, kFewestVectors = 64, kMostVectors = 256;

/// Sums of squares by column, [in_features] float32. The same bits for any number of threads.
at::Tensor column_squares(const at::Tensor& weight) {
  if (!weight.is_cpu()) return weight.to(at::kFloat).square().sum(0);
  const int64_t panels = (weight.size(0) + linalg::kPanelRows - 1) / linalg::kPanelRows;
  at::Tensor sums = at::empty({panels, weight.size(1)}, at::kFloat);
  linalg::for_panels(weight.size(0), [&](int64_t row, int64_t rows) {
    sums.select(0, row / linalg::kPanelRows)
        .copy_(weight.narrow(0, row, rows).to(at::kFloat).square().sum(0));
  });
  return sums.sum(0, /*keepdim=*/false, at::kDouble).to(at::kFloat);
}

/// W^T W / mean(diag(W^T W)) + damping I, of W^T W a part of low rank and the diagonal as it is.
linalg::Moment leading_second_moment(const at::Tensor& weight, const DirectSettings& settings) {
  const int64_t rank = direct_rank(weight.size(1));
  at::Tensor diagonal = column_squares(weight);
  const at::Tensor mean = diagonal.mean().clamp_min(1e-30);
  at::Tensor rows = weight.size(0) <= rank
                        ? weight.to(at::kFloat)
                        : linalg::low_rank_of_gram(
                              weight, rank, at::make_generator<at::CPUGeneratorImpl>(settings.subspace.seed));
  rows = rows / mean.sqrt();
  return linalg::Moment::with_diagonal(diagonal.div_(mean), rows)
      .shifted(at::scalar_tensor(settings.damping, rows.options()));
}

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
  // Numbers on the layer's device, [] float64.
  const at::Tensor& nearest() const { return nearest_; }
  at::Tensor total() const { return best_.cost.sum(); }

  Choice measured(Choice choice) const {
    choice.cost = minimizer_.costs(error_of(layer_, choice.values, choice.scale));
    return choice;
  }
  void offer(const Choice& choice, bool same_scales) { best_ = better(best_, choice, same_scales); }
  /// Row by row where no scale is shared between rows, or scales are the same; else all or nothing.
  Choice better(const Choice& a, const Choice& b, bool same_scales) const {
    if (layer_.tiling.rows > 1 && !same_scales)
      return SecondMomentRounding::has_gained(b.cost.sum().item<double>(), a.cost.sum().item<double>()) ? b
                                                                                                        : a;
    const at::Tensor second = b.cost < a.cost * kNoGain, rows = second.unsqueeze(1);
    return {at::where(rows, b.values, a.values), same_scales ? a.scale : at::where(rows, b.scale, a.scale),
            at::where(second, b.cost, a.cost)};
  }

 private:
  const Layer& layer_;
  const Minimizer& minimizer_;
  Choice best_;
  at::Tensor nearest_;
};

/// layer: with the scales to use.
Choice solve(const Layer& layer, const Search& search, const Minimizer& minimizer,
             const OnePassSettings& settings) {
  const auto with_cost = [&](Choice choice) {
    const bool known = choice.cost.defined() && is_linear(layer);
    return known ? choice : search.measured(std::move(choice));
  };
  Choice fed_back;
  fed_back.scale = layer.scale;
  fed_back.values = settings.sweeps > 0 ? minimizer.round_and_sweep(layer, settings.sweeps, &fed_back.cost)
                                        : minimizer.round(layer, layer.weight, &fed_back.cost);
  fed_back = with_cost(std::move(fed_back));
  if (settings.scales != Scales::kRefit) return fed_back;
  // Other codes are best for other scales.
  Layer scaled = layer;
  scaled.scale = refit_scales(layer, fed_back.values, layer.scale, minimizer.h());
  Choice refitted{fed_back.values, scaled.scale, {}};
  if (settings.sweeps > 0)
    refitted.values = minimizer.sweep(scaled, refitted.values, settings.sweeps, &refitted.cost);
  refitted = with_cost(std::move(refitted));
  return search.better(fed_back, refitted, /*same_scales=*/false);
}

/// Whether columns have nothing to do with each other, so that with scales as they are nothing is better than
/// round to nearest: as behind an RMSNorm without bias.
bool is_diagonal(const linalg::Moment& h) {
  return !h.is_matrix() && h.rest().width() == 1 && h.rows().size(0) <= 1 &&
         h.rows().eq(0).all().item<bool>();
}

}  // namespace

SecondMomentRounding::SecondMomentRounding(linalg::Moment h, OnePassSettings settings, const Layer& like,
                                           std::string method)
    : h_(std::move(h)),
      mean_(h_.diagonal().mean().to(at::kDouble)),
      settings_(std::move(settings)),
      method_(std::move(method)) {
  const bool with_h = settings_.sweeps > 0 || settings_.scales != Scales::kAbsmax;
  minimizer_ = settings_.adaround       ? minimize_by_adaround(h_.matrix(), settings_)
               : settings_.segments > 1 ? minimize_in_segments(like, h_.matrix(), settings_)
               : h_.is_matrix()         ? minimize_at_once(h_, settings_, with_h)
                                        : minimize_in_sample_space(h_, settings_);
}

bool SecondMomentRounding::has_gained(double objective, double nearest_objective) {
  return objective < kNoGain * nearest_objective;
}

Rounding SecondMomentRounding::round(const Layer& layer) const {
  Rounding rounding = round_part(layer);
  if (rounding.guarded || has_gained(rounding.objective_value, rounding.nearest_objective)) return rounding;
  rounding.guarded = true;
  rounding.values = layer.nearest;
  rounding.scale = layer.scale;
  rounding.objective_value = rounding.nearest_objective;
  return rounding;
}

Rounding SecondMomentRounding::round_part(const Layer& layer) const {
  Rounding rounding;
  rounding.values = layer.nearest;
  rounding.scale = layer.scale;
  rounding.method = method_;
  rounding.objective = "trace";
  rounding.guarded = true;
  const bool fixed_scales = settings_.scales == Scales::kAbsmax;
  if (!minimizer_) return rounding;
  Search search(layer, *minimizer_);
  if (!fixed_scales || !is_diagonal(h_))
    search.offer(solve(layer, search, *minimizer_, settings_),
                 /*same_scales=*/fixed_scales || settings_.scales == Scales::kSearch);
  if (!fixed_scales)
    search.offer(solve(search_scales(layer, minimizer_->h()), search, *minimizer_, settings_), false);

  if (settings_.also.defined()) {
    Layer best = layer;
    best.scale = search.best().scale;
    at::Tensor values = minimizer_->round(best, settings_.also, nullptr);
    search.offer(search.measured({std::move(values), best.scale, {}}), /*same_scales=*/true);
  }

  const Minimizer::Ending ending = minimizer_->ending();
  rounding.stopped_by = ending.by;
  // All at once: on a GPU the host waits for every look.
  const at::Tensor figures =
      at::stack({search.nearest(), search.total(), layer.weight.square().sum(at::kDouble), mean_}).cpu();
  const auto* const figure = figures.const_data_ptr<double>();
  const double nearest = figure[0], total = figure[1];
  const double whole = figure[2] * (figure[3] * (1 + minimizer_->lambda()));
  const double unit = whole > 0 ? whole : 1;
  rounding.nearest_objective = nearest / unit;
  rounding.objective_value = rounding.nearest_objective;
  rounding.iterations = settings_.sweeps + ending.iterations;
  if (!(total < nearest)) return rounding;
  rounding.guarded = false;
  rounding.values = search.best().values;
  rounding.scale = search.best().scale;
  rounding.objective_value = total / unit;
  return rounding;
}

Rounding round_with_second_moment(const Layer& layer, const linalg::Moment& h,
                                  const OnePassSettings& settings, std::string method) {
  return SecondMomentRounding(h, settings, layer, std::move(method)).round(layer);
}

int64_t direct_rank(int64_t in_features) {
  return std::clamp<int64_t>(in_features / kColumnsPerVector, kFewestVectors, kMostVectors);
}

linalg::Moment direct_second_moment(const at::Tensor& weight, const DirectSettings& settings) {
  at::Tensor h;
  if (settings.objective == DirectObjective::kMixed) {
    if (weight.size(1) >= linalg::kSamplesFrom) return leading_second_moment(weight, settings);
    h = linalg::gram_by_rows(weight, kGramRows);
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
