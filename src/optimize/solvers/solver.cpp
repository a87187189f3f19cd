#include "optimize/solvers/solver.h"

#include <ATen/ATen.h>

namespace ctq::optimize {

void Positions::move(const at::Tensor& step, double amount) { h.addcmul_(step, codes_per_x, -amount); }

void Positions::pull_back(double share) { h.lerp_(start, share); }

}  // namespace ctq::optimize
