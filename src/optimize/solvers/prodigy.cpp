#include <cmath>

#include "optimize/learned_optimizer.h"
#include "optimize/solvers/moments.h"
#include "optimize/solvers/ordered_sum.h"
#include "optimize/solvers/solver.h"

namespace ctq::optimize {
namespace {

/// arXiv:2306.06101, algorithm 4 (Prodigy, Adam version). d estimates the largest distance of an x from its
/// optimum; its moments are those of d g. All scalars stay on the device.
class Prodigy final : public Solver {
 public:
  explicit Prodigy(bool use_speed) : stride_(use_speed ? kStride : 1) {}

  void step(Positions& positions, const at::Tensor& gradient, double lr) override {
    if (!d_.defined()) {
      d_ = at::full({}, kFirstDistance, gradient.options());
      r_ = at::zeros({}, gradient.options());
      s_ = at::zeros_like(sample(gradient));
      scaled_ = at::empty_like(gradient);
    }
    const at::Tensor g = sample(gradient), weight = d_ * d_ * ((1 - kRootBeta2) * lr);
    const at::Tensor x0_minus_x =
        (sample(positions.start) - sample(positions.h)).mul_(sample(positions.height));
    r_.mul_(kRootBeta2).add_(ordered_sum(g * x0_minus_x) * weight, 1 / positions.spacing);
    s_.mul_(kRootBeta2).addcmul_(g, weight);
    // Both sums of the quotient run over the sample, so its size cancels. 1e-30: s = 0 only for a zero
    // gradient
    const at::Tensor estimate = r_ / ordered_sum(s_.abs()).clamp_min_(1e-30);

    at::mul_out(scaled_, gradient, d_);
    moments_.update(scaled_);
    // v is of the size of d^2, so an epsilon below any d of use stands for the paper's d epsilon.
    positions.move(at::mul_out(scaled_, moments_.ratio(kFirstDistance * kEpsilon), d_), lr);
    d_ = at::maximum(d_, estimate);
  }

 private:
  static constexpr int64_t kStride = 11;  // columns
  static constexpr double kFirstDistance =
      1e-4;  // codes: far below a useful step, above the rounding error of x0 - x
  inline static const double kRootBeta2 = std::sqrt(kBeta2);

  at::Tensor sample(const at::Tensor& t) const { return t.slice(1, 0, std::nullopt, stride_); }

  int64_t stride_;
  Moments moments_;
  at::Tensor d_, r_, s_, scaled_;
};

std::unique_ptr<Solver> make_solver(const LearnedSettings& settings) {
  return std::make_unique<Prodigy>(settings.use_speed);
}

}  // namespace

// Its distance estimate grows at first.
constinit const Learner kProdigySteps = {
    .name = "prodigy", .usual_lr = 1, .highest_lr = 1, .hold = 50, .make_solver = make_solver};
constinit const Optimizer kProdigy = learned_optimizer(kProdigySteps);

}  // namespace ctq::optimize
