#include <cmath>

#include "optimize/learned_optimizer.h"
#include "optimize/solvers/moments.h"
#include "optimize/solvers/solver.h"

namespace ctq::optimize {
namespace {

/// arXiv:1908.03265, algorithm 2, with decoupled weight decay.
class RAdam final : public Solver {
 public:
  void step(Positions& positions, const at::Tensor& gradient, double lr) override {
    moments_.update(gradient);
    const double t = ++t_, power = std::pow(kBeta2, t);
    const double rho_inf = 2 / (1 - kBeta2) - 1, rho = rho_inf - 2 * t * power / (1 - power);
    const double corrected = lr / (1 - std::pow(kBeta1, t));
    positions.pull_back(lr * kWeightDecay);
    if (rho > 5) {  // the paper's 4 is the mathematical limit; its own code uses 5
      const double rectified =
          std::sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho));
      const double root = std::sqrt(1 - power);
      positions.move(moments_.ratio(kEpsilon * root), corrected * rectified * root);
    } else {
      positions.move(moments_.m, corrected);
    }
  }

 private:
  Moments moments_;
  double t_ = 0;
};

std::unique_ptr<Solver> make_solver(const LearnedSettings&) { return std::make_unique<RAdam>(); }

}  // namespace

constinit const Learner kRAdamSteps = {.name = "radam", .make_solver = make_solver};
constinit const Optimizer kRAdam = learned_optimizer(kRAdamSteps);

}  // namespace ctq::optimize
