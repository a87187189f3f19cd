// The order in which tensor cores want the scales of blocks.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace ctq::format {

/// The sides of a grid of scales after swizzle(): multiples of 128 and 4.
int64_t swizzled_rows(int64_t rows);
int64_t swizzled_columns(int64_t columns);

/// A grid of scales [rows, columns], filled up with zeros to [swizzled_rows, swizzled_columns], cut into
/// tiles of 128 x 4, one after the other; in a tile row r, column c comes at (r mod 32) * 16 + (r div 32) * 4
/// + c. cuBLAS, "1D Block Scaling Factors Layout".
at::Tensor swizzle(const at::Tensor& grid);

/// The first rows and columns of the grid that swizzle() made `swizzled` of.
at::Tensor unswizzle(const at::Tensor& swizzled, int64_t rows, int64_t columns);

}  // namespace ctq::format
