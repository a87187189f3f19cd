// Improves codes one by one.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "linalg/moment.h"
#include "linalg/tiles.h"

namespace ctq::linalg {

/// Coordinate descent on tr(E H E^T), E = Q - W: `sweeps` times from the first column to the last, each value
/// becomes the one that is best given all others,
///   u_j = nearest((q_j - (E H)_j / H_jj) / s_j),
/// where that lowers the row's objective by more than the rounding of float32 could feign; so no row gets
/// worse.
///
/// values   [M, N] on the grid before scaling, as ldlq_round() returns them; same type and device as weight
/// weight   [M, N], float32 or float64, any device
/// h        [N, N] symmetric, same type and device, damped or not: the objective as it shall be; values
///          with H_jj == 0 stay
/// scale    [count_down, count_across] float32, decode scales of the tiles
/// cost     where not null, e h e^T of every row of the error, [M] float64; undefined where h is a matrix,
///          since nothing then tells it by the way
/// returns  [M, N] values on the grid. On the CPU the same bits for any number of threads
at::Tensor coordinate_descent(const at::Tensor& values, const at::Tensor& weight, const Moment& h,
                              Tiling tiling, Code code, const at::Tensor& scale, int64_t sweeps,
                              at::Tensor* cost = nullptr);

/// The same for several weights, or parts of one, under one H. Safe to use from several threads.
class CoordinateDescent {
 public:
  explicit CoordinateDescent(const Moment& h);
  /// mapped: E X^T [M, r] of the values where it is known and h is no matrix; changed
  at::Tensor swept(const at::Tensor& values, const at::Tensor& weight, Tiling tiling, Code code,
                   const at::Tensor& scale, int64_t sweeps, at::Tensor* cost = nullptr,
                   const at::Tensor& mapped = {}) const;

 private:
  Moment h_;
  std::vector<at::Tensor> groups_;  // blocks on its diagonal
};

}  // namespace ctq::linalg
