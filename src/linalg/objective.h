// tr(E H E^T), which rounding with error feedback keeps small, row by row.
#pragma once

#include <ATen/core/Tensor.h>

#include "linalg/cholesky.h"
#include "linalg/moment.h"

namespace ctq::linalg {

/// e H e^T of every row e of E, in float64; their sum is tr(E H E^T).
///
/// error    [M, N], h [N, N]: any float type, same device; where h is no matrix, of one type, in which the
///          product with its rows is
/// returns  [M] float64. On the CPU the same bits for any number of threads
at::Tensor objective_rows(const at::Tensor& error, const Moment& h);

/// The same for the H that was factored, H = U D U^T: e H e^T = sum_j D_j (e U)_j^2. Half the work, and in
/// the error's own type.
///
/// error    [M, N], columns in H's order
/// factor   ok, same type and device
at::Tensor objective_rows(const at::Tensor& error, const FeedbackFactor& factor);

}  // namespace ctq::linalg
