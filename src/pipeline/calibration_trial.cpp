#include "calibration_trial.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include <ATen/ATen.h>

#include "base/round_up.h"
#include "linalg/panels.h"
#include "optimize/rows_apart.h"

namespace ctq::pipeline {
namespace {

constexpr int64_t kTriedShare = 6;  // of the weight, where that is less than kTriedRows
constexpr double kClose = 0.85;     // of round to nearest's error
constexpr double kClearly = 0.97;   // more is made up for by what is fitted in the end, all that was recorded
constexpr int64_t kPartRows = 32;   // of the weight that lie together, so that what a scale may span does

double sum_of_squares(const at::Tensor& x) { return x.square().sum(at::kDouble).item<double>(); }

/// ||X (decoded - weight)^T||^2
double output_squares(const HeldBack& set, const at::Tensor& decoded, const at::Tensor& weight) {
  return sum_of_squares(linalg::product(set.rows, (decoded - weight).t()));
}

/// Scales that rows share are not searched for some of them.
optimize::Settings by_parts(optimize::Settings settings, const format::Codec& codec) {
  if (!optimize::same_by_rows(settings, codec)) settings.scales = optimize::Scales::kAbsmax;
  return settings;
}

}  // namespace

bool is_tried(const optimize::Settings& settings, const format::Codec& codec, int64_t in_features) {
  return in_features <= kWidestTried && optimize::takes_rows_apart(settings, codec);
}

HeldBack rows_at(const calibrate::InputRows& rows, const at::Tensor& index) {
  const at::Tensor chosen = index.to(rows.rows.device());
  const at::Tensor roots = rows.counts.index_select(0, chosen).sqrt().unsqueeze(1);
  return {.rows = rows.rows.index_select(0, chosen) * roots, .roots = roots, .second = {}};
}

linalg::Moment blended(const linalg::Moment& second, const linalg::Moment& implied, double share) {
  if (share == 0 || !implied.defined()) return second;
  const double mean = second.diagonal().mean().item<double>();
  const double of_implied = implied.diagonal().mean().item<double>();
  if (!(of_implied > 0)) return second;
  const double rest = 1 - share, of = share * mean / of_implied;
  if (second.is_matrix() || implied.is_matrix()) return second.matrix() * rest + implied.matrix() * of;
  return {second.rest().values() * rest + implied.rest().values() * of,
          at::cat({second.rows() * std::sqrt(rest), implied.rows() * std::sqrt(of)})};
}

/// Parts spread over a weight, each of whole tiles.
std::vector<CalibrationTrial::Rows> CalibrationTrial::parts(const format::Encoded& nearest, int64_t rows,
                                                            int64_t wanted) {
  const int64_t least = wanted < rows ? kPartRows : linalg::kPanelRows;
  const int64_t unit = nearest.codec->has_blocks() ? round_up(least, nearest.block_size) : least;
  const int64_t units = (rows + unit - 1) / unit;
  const int64_t parts = std::min(units, std::max<int64_t>(1, wanted / unit));
  std::vector<Rows> tried;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t first = part * units / parts * unit;
    tried.push_back({.first = first, .count = std::min(unit, rows - first)});
  }
  return tried;
}

CalibrationTrial::CalibrationTrial(const Subject& subject, const Known& known, int64_t rows)
    : subject_(subject), known_(known), parts_(parts(subject.nearest, subject.weight.size(0), rows)) {
  double squares = 0;
  for (const HeldBack& set : known_.held_back) {
    const at::Tensor centred = set.rows - set.roots * known_.mean;
    squares += sum_over_parts(
        [&](const Part& part) { return output_squares(set, format::decode(part.nearest), part.weight); });
    whole_ += sum_over_parts(
        [&](const Part& part) { return sum_of_squares(linalg::product(centred, part.weight.t())); });
  }
  nearest_ = whole_ > 0 ? std::sqrt(squares / whole_) : 0;
}

template <typename Of>
double CalibrationTrial::sum_over_parts(const Of& of) const {
  std::vector<double> sums(parts_.size());
  const auto sum = [&](int64_t i) {
    const auto& [first, count] = parts_[static_cast<size_t>(i)];
    sums[static_cast<size_t>(i)] = of({.nearest = format::rows_of(subject_.nearest, first, count),
                                       .weight = subject_.weight.narrow(0, first, count).to(at::kFloat)});
  };
  linalg::for_each_part(subject_.weight.device(), static_cast<int64_t>(parts_.size()), sum);
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

double CalibrationTrial::squares(const HeldBack& set, const optimize::SecondMoment& moment,
                                 const optimize::Settings& settings) const {
  const auto& [first, count] = parts_.front();
  const optimize::SecondMomentRounding rounding =
      optimize::one_pass_by_rows(optimize::make_layer(format::rows_of(subject_.nearest, first, count),
                                                      subject_.weight.narrow(0, first, count)),
                                 settings, moment);
  return sum_over_parts([&](const Part& part) {
    const optimize::Rounding rounded = rounding.round_part(optimize::make_layer(part.nearest, part.weight));
    const format::Encoded& chosen = rounded.guarded ? part.nearest : optimize::encode(part.nearest, rounded);
    return output_squares(set, format::decode(chosen), part.weight);
  });
}

double CalibrationTrial::of(const Damping& damping, const optimize::Settings& settings) const {
  double sum = 0;
  for (const HeldBack& set : known_.held_back) {
    optimize::SecondMoment moment =
        optimize::second_moment(subject_.weight, settings,
                                optimize::KnownMoment{.h = blended(set.second, known_.implied, damping.share),
                                                      .recorded = true,
                                                      .rows = 0,
                                                      .lambda = damping.lambda});
    sum += squares(set, optimize::in_code_space(std::move(moment), subject_.nearest),
                   by_parts(settings, *subject_.nearest.codec));
  }
  return whole_ > 0 ? std::sqrt(sum / whole_) : 0;
}

double CalibrationTrial::without(const optimize::SecondMoment& moment) const {
  double sum = 0;
  for (const HeldBack& set : known_.held_back)
    sum += squares(set, moment, by_parts(subject_.settings, *subject_.nearest.codec));
  return whole_ > 0 ? std::sqrt(sum / whole_) : 0;
}

Damping CalibrationTrial::search(const Damping& first) const {
  const double step = std::sqrt(10.0);
  const double least_lambda = known_.of_pictures ? 0.003 : first.lambda * 0.9, most_lambda = 3.1;
  optimize::Settings settings = subject_.settings;
  settings.sweeps = 0;
  settings.scales = optimize::Scales::kAbsmax;
  Damping best = first;
  double least = of(first, settings);
  const auto is_better = [&](const Damping& damping) {
    const double error = of(damping, settings);
    if (!(error < least)) return false;
    best = damping, least = error;
    return true;
  };
  const auto climb = [&](double factor) {
    const double from = best.lambda;
    for (double lambda = from * factor; lambda > least_lambda && lambda < most_lambda; lambda *= factor)
      if (!is_better({.lambda = lambda, .share = best.share})) break;
    return best.lambda != from;
  };
  if (!climb(step)) climb(1 / step);
  if (known_.implied.defined())
    for (const double share : {0.25, 0.6})
      if (!is_better({.lambda = best.lambda, .share = share})) break;
  return best;
}

Optimized Verdict::kept() const {
  Optimized optimized;
  optimized.method = "gptq";
  optimized.objective_name = "output_rel";
  optimized.nearest_objective = optimized.objective = output.nearest;
  optimized.guarded = true;
  optimized.output = output;
  optimized.calibration = use;
  return optimized;
}

Verdict judge(const CalibrationTrial::Subject& subject, const CalibrationTrial::Known& known,
              std::optional<Damping>& served) {
  const Damping usual{.lambda = subject.settings.recorded_lambda};
  const int64_t rows = subject.weight.size(0);
  const CalibrationTrial some(subject, known, std::min(kTriedRows, rows / kTriedShare));
  Verdict verdict{.damping = usual};
  const auto ask = [&](const CalibrationTrial& trial) {
    verdict.output = {.nearest = trial.nearest(), .stored = trial.of(verdict.damping)};
    verdict.recorded = true;
    if (!known.data_free) return;
    const double without = trial.without(*known.data_free);
    verdict.recorded = without >= kClearly * verdict.output.stored;
    if (!verdict.recorded) verdict.output.stored = without;
  };
  const auto is_close = [&] { return verdict.output.stored > kClose * verdict.output.nearest; };

  bool may_search = subject.settings.tries_damping;
  if (may_search && served) {
    verdict.damping = *served;
  } else if (may_search && known.data_free) {
    verdict.damping = some.search(usual);
    may_search = false;
  }
  ask(some);
  if (may_search && is_close()) {
    verdict.damping = some.search(usual);
    ask(some);
  }
  // Some rows of the weight tell a clear difference; what is close is asked of them all.
  if (is_close()) ask(CalibrationTrial(subject, known, rows));
  verdict.plain = verdict.output.stored >= verdict.output.nearest;
  if (verdict.plain) verdict.output.stored = verdict.output.nearest;
  if (!verdict.plain) served = verdict.damping;
  verdict.use.damping = verdict.damping.lambda;
  verdict.use.implied_share = verdict.damping.share;
  verdict.use.used = verdict.recorded && !verdict.plain;
  return verdict;
}

}  // namespace ctq::pipeline
