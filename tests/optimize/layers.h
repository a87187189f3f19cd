// Weights and second moments that tests of optimizers share.
#pragma once

#include <cstdint>

#include <ATen/ATen.h>

#include "linalg/cholesky.h"

namespace ctq::test {

inline at::Tensor seeded_weight(int64_t rows, int64_t columns) {
  at::manual_seed(11);
  return at::randn({rows, columns}) * 0.02;
}

/// A second moment with strong correlations.
inline at::Tensor correlated(int64_t columns) {
  at::manual_seed(12);
  const at::Tensor x = at::matmul(at::randn({4 * columns, columns / 4}), at::randn({columns / 4, columns}));
  return linalg::gram(x).div(4 * columns).contiguous();
}

}  // namespace ctq::test
