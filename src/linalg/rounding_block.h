// The part of LDLQ and of coordinate descent that goes column by column, on a block of columns. The boundary
// for kernels: own ones for float32, on the CPU and, where they were built, on a GPU; ATen operations
// otherwise.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "linalg/tiles.h"

namespace ctq::linalg {

inline constexpr int64_t kBlockCols = 128;

/// Columns that get the influence of all others by one matrix product, in several blocks: a BLAS is at its
/// best with wide products.
inline constexpr int64_t kGroupCols = 4 * kBlockCols;

/// Views of a block: rows x cols, cols <= kBlockCols.
struct Block {
  Code code;
  at::Tensor weight;    ///< [rows, cols]
  at::Tensor scale;     ///< [rows, cols]
  at::Tensor coupling;  ///< [cols, cols], U of the factor or H; the lower triangle is not read
  at::Tensor error;     ///< [rows, cols], Q - W; written
  at::Tensor values;    ///< [rows, cols], before scaling; written
};

/// What rounding a block costs: cost += sum_j D_j (q_j - t_j)^2 for every row.
struct BlockCosts {
  at::Tensor pivots;  ///< D, [cols]; undefined: not asked for
  at::Tensor cost;    ///< [rows] float64
};

/// Rounds column after column, from target [rows, cols]: the weight corrected for all columns before the
/// block. `target` is changed.
void round_block(const Block& block, at::Tensor& target, const BlockCosts& costs);

/// Coordinate descent once over the columns. gradient [rows, cols] = E H; changed. change [rows, cols]
/// becomes what was added to the error.
void refine_block(const Block& block, at::Tensor& gradient, const at::Tensor& change);

/// The scale of every element of the rows [row, row + rows), as [rows, cols] or a view that reads as such.
/// order: [cols] int64, the columns to look at, or undefined for all of them in turn.
at::Tensor scale_of_rows(const at::Tensor& scale, Tiling tiling, int64_t row, int64_t rows, int64_t cols,
                         const at::Tensor& order = {});

}  // namespace ctq::linalg
