#include <cmath>

#include "optimize/learned_optimizer.h"
#include "optimize/solvers/moments.h"
#include "optimize/solvers/solver.h"

namespace ctq::optimize {
namespace {

/// arXiv:1711.05101, algorithm 2. The decay pulls to the starting point, which is round to nearest.
class AdamW final : public Solver {
 public:
  void step(Positions& positions, const at::Tensor& gradient, double lr) override {
    moments_.update(gradient);
    const double t = ++t_, root = std::sqrt(1 - std::pow(kBeta2, t));  // of v's bias correction
    positions.pull_back(lr * kWeightDecay);
    positions.move(moments_.ratio(kEpsilon * root), lr * root / (1 - std::pow(kBeta1, t)));
  }

 private:
  Moments moments_;
  double t_ = 0;
};

std::unique_ptr<Solver> make_solver(const LearnedSettings&) { return std::make_unique<AdamW>(); }

}  // namespace

constinit const Learner kAdamWSteps = {.name = "adamw", .make_solver = make_solver};
constinit const Optimizer kAdamW = learned_optimizer(kAdamWSteps);

}  // namespace ctq::optimize
