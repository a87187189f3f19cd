// What kernels work on, on every device.
#pragma once

#include <cstdint>

namespace ctq::linalg {

/// Element type of a weight in memory. Everything is computed in float32; float64 is rounded to it first.
enum class Source : uint8_t { kFloat32, kFloat16, kBFloat16, kFloat64 };

/// Of float32: a pattern from here on, without its sign, is an infinity or no number.
inline constexpr uint32_t kInfinityBits = 0x7F800000;

/// Elements [row, col] at data[row * row_stride + col * col_stride].
template <typename T>
struct View {
  T* data;
  int64_t row_stride;
  int64_t col_stride;
};

/// Columns that a kernel rounds one after the other.
inline constexpr int64_t kMaxBlockCols = 128;

/// A block of columns of some rows. Rows do not influence each other.
struct RoundingBlock {
  int64_t rows;
  int64_t cols;              // at most kMaxBlockCols
  View<const float> weight;  // [rows, cols]
  View<const float> scale;   // [rows, cols]
  View<const float>
      coupling;  // [cols, cols]: U of the factor, or H; the strictly upper triangle, of H also the diagonal
  View<float> error;   // [rows, cols]: Q - W, of which a correction is a multiple
  View<float> values;  // [rows, cols]: codes' values before scaling
};

}  // namespace ctq::linalg
