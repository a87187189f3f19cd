// Products of which one side is mostly zeros.
#pragma once

#include <ATen/core/Tensor.h>

namespace ctq::linalg {

/// Rows of which the sum of some multiples is taken as fast as memory allows: elements of a row lie together,
/// and rows do not share cache lines' places.
///
/// x        [r, N]
/// returns  x, as a view of its transpose in memory
at::Tensor with_columns_apart(const at::Tensor& x);

/// sum += a b. Where few elements of a are not zero, b has with_columns_apart() as its transpose and kernels
/// exist for its type (float32 on the CPU), the zeros cost nothing. On this thread alone.
///
/// a [M, K], b [K, N], sum [M, N] contiguous; one type and device
void add_product(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b);

}  // namespace ctq::linalg
