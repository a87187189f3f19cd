// Rounding with error feedback: GPTQ, alias LDLQ.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "linalg/cholesky.h"
#include "linalg/tiles.h"

namespace ctq::linalg {

/// How the corrections are summed up.
enum class Recursion : uint8_t {
  kBlocks,   ///< by matrix products over blocks of columns: fast
  kColumns,  ///< column by column, as the formula stands
};

/// Rounds column after column, each corrected for the errors of those before it, so that tr(E H E^T) with
/// E = Q - W stays small:
///   t_j = w_j - sum_{i<j} e_i U_ij,   q_j = nearest(t_j / s_j) s_j,   e_j = q_j - w_j.
/// The order of columns is the factor's; scales belong to the columns where they are in the weight.
///
/// Chee et al., arXiv:2307.13304, equation 2, with U as LDLQ chooses it; equal to the recursion of Frantar et
/// al., arXiv:2210.17323. In blocks of 128 columns, the correction by all earlier blocks as one matrix
/// product: the same numbers as column by column but for rounding.
///
/// weight   [M, N], float32 or float64, any device
/// factor   of H [N, N], ok, same type and device
/// scale    [count_down, count_across] float32, decode scales of the tiles; where one is 0 the value is 0
/// cost     where not null: e H e^T of every row of E, [M] float64, as objective_rows() has it. Costs little:
///          it is sum_j D_j (q_j - t_j)^2
/// recursion  one or the other; results differ as sums in another order do
///
/// returns  [M, N], same type: values on the grid before scaling; the weight is that times its tile's scale.
///          On the CPU the same bits for any number of threads
at::Tensor ldlq_round(const at::Tensor& weight, const FeedbackFactor& factor, Tiling tiling, Code code,
                      const at::Tensor& scale, at::Tensor* cost = nullptr,
                      Recursion recursion = Recursion::kBlocks);

}  // namespace ctq::linalg
