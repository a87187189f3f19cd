// Error feedback under H = D + X^T X with r rows X, at a cost that grows with r instead of N.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "linalg/cholesky.h"
#include "linalg/ldlq.h"
#include "linalg/moment.h"

namespace ctq::linalg {

/// Columns in runs of kSampleRun. After errors E of the columns before a run S made R = E X^T, the best of S
/// and all later columns L is W_S - R G_S with
///   G_S = A M^-1,  A = P^-1 X_S,  P = I + X_L D_L^-1 X_L^T,  M = D_S + X_S^T A
/// (the push-through identity and Woodbury's), and M [S, S] is what errors of S cost once L has moved to
/// correct for them. So a run is rounded as a layer of its own under M, and nothing else is of size N but X
/// and G. From the last run to the first P^-1, which begins as the identity, loses G A^T: by Woodbury's
/// identity again, 1.5 r^2 N products for all runs, and in float32 as near to float64's as P factored anew
/// (docs/optimizers/sample_space.md). Equal to the recursion with H's factor but for rounding.
struct SampleFactor {
  struct Run {
    int64_t begin = 0, width = 0;  ///< of columns, in order
    FeedbackFactor factor;         ///< of M
    at::Tensor pull;               ///< G_S [r, width]
  };
  bool ok = false;        ///< false: not positive definite even with the strongest damping
  std::vector<Run> runs;  ///< from the first column to the last
  at::Tensor rows;        ///< X [r, N], columns in order
  at::Tensor order;       ///< as FeedbackFactor::order
  double lambda = 0;      ///< the damping that was used
};

/// Of H + lambda mean(diag H) I; dead columns and more damping as in damped_factor(). In act order the
/// columns of a block of D stay together, by the block's mean.
///
/// h  not a matrix, and no block of D in two runs; float32 or float64, any device
/// returns  on the CPU the same bits for any number of threads
SampleFactor sample_factor(const Moment& h, double lambda, ColumnOrder order = ColumnOrder::kNatural);

/// As with a FeedbackFactor of the same H.
/// mapped: where not null, E X^T [M, r], which CoordinateDescent begins with
at::Tensor ldlq_round(const at::Tensor& weight, const SampleFactor& factor, Tiling tiling, Code code,
                      const at::Tensor& scale, at::Tensor* cost = nullptr,
                      Recursion recursion = Recursion::kBlocks, at::Tensor* mapped = nullptr);

}  // namespace ctq::linalg
