// The GPU's kernels behind ldlq.h, coordinate_descent.h and scale_search.h: float32, the bits of the CPU's.
//
// They lie in a shared object of their own, which knows nothing of LibTorch and is opened when a GPU is. All
// pointers are of the device; a function enqueues one kernel and does not wait for it.
#pragma once

#include <cstdint>

#include "linalg/code.h"
#include "linalg/kernels/blocks.h"

namespace ctq::linalg::gpu {

/// Where a kernel is enqueued.
struct Queue {
  int device;
  void* stream;  // cudaStream_t
};

/// What rounding costs: cost[row] += sum_j pivots[j] (q_j - t_j)^2.
struct RowCosts {
  const float* pivots;  // [cols]; null: not asked for
  double* cost;         // [rows]
};

/// Runs of `run` columns of a row, of which each has scales to try; the last may be narrower.
struct SearchRuns {
  int64_t rows;
  int64_t cols;
  int64_t run;  // at most kMaxBlockCols
  int64_t candidates;
  View<const float> weight;  // [rows, cols]
  const float* tried;        // [candidates, rows, across]
  const float* metric;       // [across, run, run], symmetric; null: the identity
  float* scale;              // [rows, across]
  float* values;             // [rows, cols]
};

/// A matrix of contiguous elements, cut from the top left into tiles that may be narrower at the edges.
/// Numbers of tiles: [rows / tile_rows, cols / tile_cols], rounded up.
struct Tiles {
  int64_t rows;
  int64_t cols;
  int64_t tile_rows;
  int64_t tile_cols;
};

/// What two tensors differ by is summed up in so many pieces of as many elements each but the last ones, of
/// each piece: errors, their squares, weights, their squares, the largest error, how many values became 0.
inline constexpr int64_t kDifferencePieces = 512;
inline constexpr int kDifferenceSums = 6;
constexpr int64_t difference_piece(int64_t n) { return (n + kDifferencePieces - 1) / kDifferencePieces; }

/// The longest run that fits into the shared memory of every GPU since Turing.
inline constexpr int64_t kMostHadamard = 16384;

/// cudaErrorMemoryAllocation, also of a kernel's code that is loaded when it is first used.
inline constexpr int kOutOfMemory = 2;

/// Every function returns 0, or what message() has words for.
struct Kernels {
  uint64_t layout;  // kLayout: an object of another version is told by it
  /// Whether kernels can be started on that device, by this driver.
  int (*usable)(int device);
  /// Rounds column after column; target: [rows, cols], what each column would ideally be if its neighbours in
  /// the block had no error. Writes error and values.
  int (*round)(Code code, const RoundingBlock& block, View<const float> target, RowCosts costs, Queue queue);
  /// Coordinate descent once over the columns; gradient: [rows, cols], E H. Updates error and values; change:
  /// [rows, cols], what was added to the error.
  int (*refine)(Code code, const RoundingBlock& block, View<const float> gradient, View<float> change,
                Queue queue);
  /// Writes the first scale of least e M e^T and its values.
  int (*search)(Code code, const SearchRuns& runs, Queue queue);
  /// bits of a tile: those of the largest magnitude as float32, if they were less before; at least
  /// kInfinityBits where the tile holds an infinity or what is no number.
  int (*amax)(Source source, const void* weight, const Tiles& tiles, uint32_t* bits, Queue queue);
  /// codes = those of w * factor or w / factor, and of 0 where the tile's factor is 0.
  int (*encode)(Source source, Code code, bool divide, const void* weight, const Tiles& tiles,
                const float* factor, void* codes, Queue queue);
  /// values = value of the code * scale.
  int (*decode)(Code code, const void* codes, const Tiles& tiles, const float* scale, float* values,
                Queue queue);
  /// Writes n bytes: of each pair of codes the low halves.
  int (*pack)(const void* codes, int64_t n, bool even_is_high, void* packed, Queue queue);
  /// sums: [kDifferencePieces, kDifferenceSums]
  int (*differences)(Source original_source, const void* original, Source decoded_source, const void* decoded,
                     int64_t n, double* sums, Queue queue);
  /// Transforms runs of n elements in place, n a power of two up to kMostHadamard, and of four where regular:
  /// hadamard.h has both kinds; the sums times normalise. count: of all elements
  int (*hadamard)(float* x, int64_t count, int64_t n, bool regular, float normalise, Queue queue);
  const char* (*message)(int status);
};

/// Of what both sides must see alike. The first number is raised by changes that sizes do not show.
inline constexpr uint64_t kLayout =
    1 + 16 * (sizeof(Kernels) + 3 * sizeof(RoundingBlock) + 5 * sizeof(SearchRuns) + 7 * sizeof(Tiles) +
              11 * sizeof(RowCosts) + 13 * sizeof(Queue));

}  // namespace ctq::linalg::gpu

/// Of the shared object.
extern "C" const ctq::linalg::gpu::Kernels* ctq_gpu_kernels();
