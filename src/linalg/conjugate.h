// A second moment in another basis of its inputs.
#pragma once

#include <functional>

#include <ATen/core/Tensor.h>

namespace ctq::linalg {

/// Q H Q^T. Beside h and the result only some rows are held at a time.
///
/// h        [N, N] float32, symmetric, any device
/// turn     x Q^T for every row of x [n, N], float32; called from this thread
/// returns  [N, N], same device
at::Tensor conjugate(const at::Tensor& h, const std::function<at::Tensor(const at::Tensor& x)>& turn);

}  // namespace ctq::linalg
