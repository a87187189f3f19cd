// Running first and second moments of a gradient, which the Adam family shares.
#pragma once

#include <ATen/ATen.h>

namespace ctq::optimize {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;
constexpr double kWeightDecay = 0.01;

/// m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) g^2. Kingma & Ba, arXiv:1412.6980.
struct Moments {
  at::Tensor m, v, scratch;

  void update(const at::Tensor& g) {
    if (!m.defined()) {
      m = at::zeros_like(g);
      v = at::zeros_like(g);
      scratch = at::empty_like(g);
    }
    m.lerp_(g, 1 - kBeta1);
    v.mul_(kBeta2).addcmul_(g, g, 1 - kBeta2);
  }

  /// m / (sqrt(v) + epsilon); valid until the next call.
  const at::Tensor& ratio(double epsilon) {
    at::sqrt_out(scratch, v).add_(epsilon);
    return at::div_out(scratch, m, scratch);
  }
};

}  // namespace ctq::optimize
