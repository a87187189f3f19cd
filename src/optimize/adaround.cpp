#include "optimize/adaround.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numbers>
#include <numeric>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "base/cancel.h"
#include "linalg/coordinate_descent.h"
#include "linalg/objective.h"
#include "linalg/panels.h"
#include "optimize/deadline.h"
#include "optimize/learned_relaxation.h"
#include "optimize/minimizer.h"
#include "optimize/second_moment.h"

namespace ctq::optimize {
namespace {

constexpr int64_t kVainIterations = 50;

/// Brings the published reg_lambda to the unit of the error here, in which 200 iterations then leave few
/// positions between the ends.
constexpr double kPressure = 3000;

/// What a solver remembers of earlier gradients of some rows.
struct Memory {
  at::Tensor mean, square;
};

/// Where a run stands.
struct Progress {
  double t = 0;  ///< iterations done, from 1
  double lr = 0;
  double beta = 0;
};

/// One step of the positions of some rows, in place.
void step(AdaRoundSolver solver, at::Tensor& h, const at::Tensor& gradient, const Memory& memory,
          const Progress& now) {
  constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8, kDecay = 1e-6, kRmsSmoothing = 0.99;
  switch (solver) {
    case AdaRoundSolver::kAdamW: h.mul_(1 - now.lr * kDecay); [[fallthrough]];
    case AdaRoundSolver::kAdam: {
      memory.mean.lerp_(gradient, 1 - kBeta1);
      memory.square.mul_(kBeta2).addcmul_(gradient, gradient, 1 - kBeta2);
      const double root = std::sqrt(1 - std::pow(kBeta2, now.t));
      h.addcdiv_(memory.mean, memory.square.sqrt().add_(kEpsilon * root),
                 -now.lr * root / (1 - std::pow(kBeta1, now.t)));
      break;
    }
    case AdaRoundSolver::kAdaGrad:
      memory.square.addcmul_(gradient, gradient);
      h.addcdiv_(gradient, memory.square.sqrt().add_(kEpsilon), -now.lr);
      break;
    case AdaRoundSolver::kRmsProp:
      memory.square.mul_(kRmsSmoothing).addcmul_(gradient, gradient, 1 - kRmsSmoothing);
      h.addcdiv_(gradient, memory.square.sqrt().add_(kEpsilon), -now.lr);
      break;
    case AdaRoundSolver::kSgd: h.sub_(gradient, now.lr); break;
  }
  h.clamp_(0, 1);
}

class AdaRound final : public Minimizer {
 public:
  AdaRound(at::Tensor damped, double lambda, AdaRoundSettings settings)
      : h_(std::move(damped)), moment_(h_), lambda_(lambda), settings_(settings) {
    if (settings_.half_products) half_h_ = h_.to(at::kBFloat16);
  }

  at::Tensor round(const Layer& layer, const at::Tensor& weight, at::Tensor* cost) const override {
    Layer of = layer;
    of.weight = weight;
    Neighbours neighbours = neighbours_of(of);
    Positions& positions = neighbours.positions;
    const double mean = h_.diagonal().mean().item<double>();
    const double unit = mean * positions.spacing * positions.spacing;
    if (unit > 0) learn(neighbours, 1 / unit);
    if (cost) *cost = at::Tensor();
    return at::where(positions.h > 0.5, neighbours.above, neighbours.below);
  }
  at::Tensor sweep(const Layer& layer, const at::Tensor& values, int64_t sweeps,
                   at::Tensor* cost) const override {
    return linalg::coordinate_descent(values, layer.weight, h_, layer.tiling, layer.grid->code(), layer.scale,
                                      sweeps, cost);
  }
  at::Tensor costs(const at::Tensor& error) const override { return linalg::objective_rows(error, h_); }
  const linalg::Moment& h() const override { return moment_; }
  double lambda() const override { return lambda_; }
  Ending ending() const override { return ending_; }

 private:
  double reg_lambda() const { return kPressure * settings_.reg_lambda; }

  void learn(Neighbours& neighbours, double per_unit) const {
    const Memory memory{at::zeros_like(neighbours.positions.h), at::zeros_like(neighbours.positions.h)};
    double best = std::numeric_limits<double>::infinity();
    int64_t vain = 0, i = 0;
    std::string_view by = "iterations";
    for (; i < settings_.iterations; ++i) {
      throw_if_cancelled();
      if (is_past(settings_.deadline)) by = "time";
      if (vain == kVainIterations) by = "stall";
      if (by != "iterations") break;
      const double done = static_cast<double>(i) / static_cast<double>(settings_.iterations);
      const Progress now{.t = static_cast<double>(i + 1),
                         .lr = settings_.lr * (1 + std::cos(std::numbers::pi * done)) / 2,
                         .beta = settings_.beta_start + (settings_.beta_end - settings_.beta_start) * done};
      const double loss =
          iterate(neighbours, memory, now, per_unit) / static_cast<double>(neighbours.positions.h.numel());
      vain = best - loss < settings_.least_gain * std::abs(best) ? vain + 1 : 0;
      best = std::min(best, loss);
    }
    if (ending_.by != "time") ending_.by = by;
    ending_.iterations = std::max(ending_.iterations, i);
  }

  /// returns  the objective before the step
  double iterate(Neighbours& neighbours, const Memory& memory, const Progress& now, double per_unit) const {
    const Positions& positions = neighbours.positions;
    const int64_t rows = positions.h.size(0);
    if (!positions.h.is_cpu()) return step_rows(neighbours, memory, now, per_unit, 0, rows);
    std::vector<double> losses(static_cast<size_t>((rows + linalg::kPanelRows - 1) / linalg::kPanelRows));
    linalg::for_panels(rows, [&](int64_t row, int64_t count) {
      losses[static_cast<size_t>(row / linalg::kPanelRows)] =
          step_rows(neighbours, memory, now, per_unit, row, count);
    });
    return std::accumulate(losses.begin(), losses.end(), 0.0);
  }

  double step_rows(const Neighbours& neighbours, const Memory& memory, const Progress& now, double per_unit,
                   int64_t row, int64_t count) const {
    const auto part = [&](const at::Tensor& of) { return of.narrow(0, row, count); };
    at::Tensor h = part(neighbours.positions.h);
    const at::Tensor height = part(neighbours.positions.height);
    const at::Tensor error = at::addcmul(part(neighbours.lower_error), height, h);
    at::Tensor gradient =
        half_h_.defined() ? at::mm(error.to(at::kBFloat16), half_h_).to(at::kFloat) : at::mm(error, h_);
    const at::Tensor centred = h * 2 - 1, away = centred.abs();
    const at::Tensor power = away.log().mul_(now.beta - 1).exp_();  // |2 h - 1|^(beta - 1)
    const at::Tensor loss =
        (error * gradient).sum(at::kDouble) * per_unit + (1 - power * away).sum(at::kDouble) * reg_lambda();
    gradient.mul_(height).mul_(2 * per_unit);
    gradient.sub_(power * centred.sign(), 2 * now.beta * reg_lambda());
    step(settings_.solver, h, gradient, {part(memory.mean), part(memory.square)}, now);
    return loss.item<double>();
  }

  at::Tensor h_;  // damped
  linalg::Moment moment_;
  at::Tensor half_h_;
  double lambda_ = 0;
  AdaRoundSettings settings_;
  mutable Ending ending_;
};

}  // namespace

std::unique_ptr<Minimizer> minimize_by_adaround(const at::Tensor& h, const OnePassSettings& settings) {
  at::Tensor damped = h.clone();
  damped.diagonal().add_(h.diagonal().mean().mul(settings.lambda));
  return std::make_unique<AdaRound>(std::move(damped), settings.lambda, *settings.adaround);
}

namespace {

double cost(const Settings& settings, double) {
  return static_cast<double>(std::max<int64_t>(settings.adaround.iterations, 1));
}

Footprint footprint(const Settings& settings, const Space& space) {
  return moment_footprint(settings, space, /*rows=*/16);
}

}  // namespace

constinit const Optimizer kAdaRound = {
    .name = "adaround",
    .needs = {.moment = true, .implied = true, .recorded = true, .drawn = true},
    .names_itself = true,
    .heeds_deadline = true,
    .by_rows = true,
    .by_gradients = true,
    .cost = cost,
    .footprint = footprint,
    .round = round_one_pass,
};

}  // namespace ctq::optimize
