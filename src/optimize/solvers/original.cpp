#include "optimize/learned_optimizer.h"
#include "optimize/solvers/solver.h"

namespace ctq::optimize {
namespace {

class Original final : public Solver {
 public:
  void step(Positions& positions, const at::Tensor& gradient, double lr) override {
    positions.move(gradient, lr);
  }
};

std::unique_ptr<Solver> make_solver(const LearnedSettings&) { return std::make_unique<Original>(); }

}  // namespace

constinit const Learner kNormalisedGradient = {.name = "original", .make_solver = make_solver};
constinit const Optimizer kOriginal = learned_optimizer(kNormalisedGradient);

}  // namespace ctq::optimize
