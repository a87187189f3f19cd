// The CPU kernels behind ldlq.h, coordinate_descent.h, scale_search.h and sparse_product.h. One table of
// functions per instruction set, all with the same bits.
#pragma once

#include <cstdint>

#include "linalg/code.h"
#include "linalg/kernels/blocks.h"

namespace ctq::linalg::cpu {

/// A run of columns of some rows, and the scales to try for it.
struct SearchBlock {
  int64_t rows;
  int64_t cols;  // at most kMaxBlockCols
  int64_t candidates;
  View<const float> weight;  // [rows, cols]
  View<const float> tried;   // [candidates, rows]
  View<const float> metric;  // [cols, cols], symmetric; null data: the identity
  View<float> scale;         // [rows, 1]
  View<float> values;        // [rows, cols]
};

/// A matrix of which few elements are not zero: of row i columns[k] with amounts[k], begins[i] <= k <
/// begins[i + 1].
struct SparseRows {
  int64_t rows;
  const int64_t* begins;
  const int32_t* columns;
  const float* amounts;
};

struct LdlqKernels {
  /// Rounds column after column; target: [rows, cols], what each column would ideally be if its neighbours in
  /// the block had no error. Writes error and values.
  void (*round)(Code code, const RoundingBlock& block, View<const float> target);
  /// Coordinate descent once over the columns; gradient: [rows, cols], E H. Updates error and values; change:
  /// [rows, cols], what was added to the error.
  void (*refine)(Code code, const RoundingBlock& block, View<const float> gradient, View<float> change);
  /// Writes the first scale of least e M e^T and its values.
  void (*search)(Code code, const SearchBlock& block);
  /// sum [a.rows, width] += a b; elements of a row of b, and of sum, lie together.
  void (*add_sparse)(const SparseRows& a, View<const float> b, int64_t width, View<float> sum);
};

namespace baseline {
extern const LdlqKernels kLdlqKernels;
}
#ifdef CTQ_X86_KERNELS
namespace avx2 {
extern const LdlqKernels kLdlqKernels;
}
namespace avx512 {
extern const LdlqKernels kLdlqKernels;
}
#endif

/// The table named `isa` (kernel_isa()); null when it was not compiled in. Whether this machine can run it is
/// find_kernels()' answer.
const LdlqKernels* find_ldlq_kernels(const char* isa);

/// The table of the instruction set that all kernels use.
const LdlqKernels& ldlq_kernels();

}  // namespace ctq::linalg::cpu
