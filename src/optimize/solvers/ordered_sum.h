// Sums that do not depend on the number of threads.
#pragma once

#include <ATen/ATen.h>

namespace ctq::optimize {

/// Sum of a matrix, a scalar of its type. LibTorch cuts the sum of a whole tensor by the number of threads, a
/// row's never; the rows' sums are added in float64, where the order is lost in rounding.
inline at::Tensor ordered_sum(const at::Tensor& matrix) {
  return matrix.sum(1).sum(at::kDouble).to(matrix.scalar_type());
}

}  // namespace ctq::optimize
