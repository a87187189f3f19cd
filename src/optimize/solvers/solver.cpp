#include "optimize/solvers/solver.h"

#include <ATen/ATen.h>

namespace ctq::optimize {
namespace {

class Original final : public Solver {
 public:
  void step(Positions& positions, const at::Tensor& gradient, double lr) override {
    positions.move(gradient, lr);
  }
};

}  // namespace

void Positions::move(const at::Tensor& step, double amount) { h.addcmul_(step, codes_per_x, -amount); }

void Positions::pull_back(double share) { h.lerp_(start, share); }

std::unique_ptr<Solver> make_original() { return std::make_unique<Original>(); }

std::unique_ptr<Solver> make_solver(const LearnedSettings& settings) {
  switch (settings.method) {
    case LearnedMethod::kOriginal:
    case LearnedMethod::kTpec: return make_original();
    case LearnedMethod::kAdamW: return make_adamw();
    case LearnedMethod::kRAdam: return make_radam();
    case LearnedMethod::kProdigy: return make_prodigy(settings.use_speed);
  }
  TORCH_INTERNAL_ASSERT(false);
}

}  // namespace ctq::optimize
