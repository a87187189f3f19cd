// Compiled once per instruction set, with CTQ_KERNEL_ISA as the name of the namespace. Rules as in
// tiles.simd.cpp.
//
// kLanes rows at a time, one per vector lane: the columns depend on each other, the rows do not.
#include <cstdint>

#include "linalg/kernels/cpu/ldlq_kernels.h"
#include "linalg/kernels/grids.h"

namespace ctq::linalg::cpu::CTQ_KERNEL_ISA {
namespace {

constexpr int kLanes = 16;

// A gain in the objective must exceed this part of delta^2 H_jj. What is below is lost in the rounding of
// float32 sums.
constexpr float kLeastGain = 1e-3f;

/// A column of kLanes rows.
struct alignas(64) Lanes {
  float x[kLanes];
};

/// Lanes without a row get `fill`.
void load(View<const float> from, int64_t row, int64_t lanes, int64_t cols, float fill, Lanes* to) {
  if (lanes < kLanes) {
    for (int64_t j = 0; j < cols; ++j) {
      for (int l = 0; l < kLanes; ++l) to[j].x[l] = fill;
    }
  }
  for (int64_t l = 0; l < lanes; ++l) {
    const float* const data = from.data + (row + l) * from.row_stride;
    for (int64_t j = 0; j < cols; ++j) to[j].x[l] = data[j * from.col_stride];
  }
}

void store(const Lanes* from, View<float> to, int64_t row, int64_t lanes, int64_t cols) {
  for (int64_t l = 0; l < lanes; ++l) {
    float* const data = to.data + (row + l) * to.row_stride;
    for (int64_t j = 0; j < cols; ++j) data[j * to.col_stride] = from[j].x[l];
  }
}

View<const float> read(View<float> view) { return {view.data, view.row_stride, view.col_stride}; }

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
typedef float Vector __attribute__((vector_size(kVectorBytes), may_alias));
constexpr int kVectors = static_cast<int>(sizeof(Lanes) / sizeof(Vector));

/// moved_k += amount * coupling_jk for k > j. Spelled in vectors, because compilers prefer to vectorise the
/// loop over k.
void spread(const Lanes& amount, View<const float> coupling, int64_t j, int64_t cols, Lanes* moved) {
  const float* const row = coupling.data + j * coupling.row_stride;
  Vector by[kVectors];
  for (int v = 0; v < kVectors; ++v) by[v] = reinterpret_cast<const Vector*>(amount.x)[v];
  for (int64_t k = j + 1; k < cols; ++k) {
    const float factor = row[k * coupling.col_stride];
    Vector* const to = reinterpret_cast<Vector*>(moved[k].x);
    for (int v = 0; v < kVectors; ++v) to[v] += by[v] * factor;
  }
}

template <Code kCode>
void round_as(const RoundingBlock& block, View<const float> target) {
  Lanes ideal[kMaxBlockCols], weight[kMaxBlockCols], scale[kMaxBlockCols], error[kMaxBlockCols],
      values[kMaxBlockCols];
  for (int64_t row = 0; row < block.rows; row += kLanes) {
    const int64_t lanes = block.rows - row < kLanes ? block.rows - row : kLanes;
    load(target, row, lanes, block.cols, 0.0f, ideal);
    load(block.weight, row, lanes, block.cols, 0.0f, weight);
    load(block.scale, row, lanes, block.cols, 1.0f, scale);
    for (int64_t j = 0; j < block.cols; ++j) {
      Lanes correction;
      for (int l = 0; l < kLanes; ++l) {
        const float s = scale[j].x[l];
        const float u = ideal[j].x[l] / s;
        const float value = nearest<kCode>(s > 0.0f ? u : 0.0f);
        values[j].x[l] = value;
        error[j].x[l] = value * s - weight[j].x[l];
        correction.x[l] = -error[j].x[l];
      }
      spread(correction, block.coupling, j, block.cols, ideal);
    }
    store(error, block.error, row, lanes, block.cols);
    store(values, block.values, row, lanes, block.cols);
  }
}

template <Code kCode>
void refine_as(const RoundingBlock& block, View<const float> gradient_of, View<float> change_of) {
  Lanes gradient[kMaxBlockCols], scale[kMaxBlockCols], error[kMaxBlockCols], values[kMaxBlockCols],
      weight[kMaxBlockCols], change[kMaxBlockCols];
  for (int64_t row = 0; row < block.rows; row += kLanes) {
    const int64_t lanes = block.rows - row < kLanes ? block.rows - row : kLanes;
    load(gradient_of, row, lanes, block.cols, 0.0f, gradient);
    load(block.weight, row, lanes, block.cols, 0.0f, weight);
    load(block.scale, row, lanes, block.cols, 1.0f, scale);
    load(read(block.error), row, lanes, block.cols, 0.0f, error);
    load(read(block.values), row, lanes, block.cols, 0.0f, values);
    for (int64_t j = 0; j < block.cols; ++j) {
      const float h = block.coupling.data[j * (block.coupling.row_stride + block.coupling.col_stride)];
      if (!(h > 0.0f)) {
        change[j] = {};
        continue;
      }
      Lanes moved;
      for (int l = 0; l < kLanes; ++l) {
        const float s = scale[j].x[l], old = values[j].x[l], g = gradient[j].x[l];
        const float u = (old * s - g / h) / s;
        const float candidate = nearest<kCode>(s > 0.0f ? u : 0.0f);
        const float delta = (candidate - old) * s;
        const float gain = -delta * (2.0f * g + delta * h);
        const bool better = gain > kLeastGain * (delta * delta) * h;
        const float value = better ? candidate : old;
        const float after = value * s - weight[j].x[l];
        values[j].x[l] = value;
        change[j].x[l] = after - error[j].x[l];
        error[j].x[l] = after;
        moved.x[l] = better ? delta : 0.0f;
      }
      spread(moved, block.coupling, j, block.cols, gradient);
    }
    store(change, change_of, row, lanes, block.cols);
    store(error, block.error, row, lanes, block.cols);
    store(values, block.values, row, lanes, block.cols);
  }
}

/// e M e^T of the columns in `error`.
void weigh(const Lanes* error, View<const float> metric, int64_t cols, Lanes* cost) {
  Vector sum[kVectors] = {};
  for (int64_t j = 0; j < cols; ++j) {
    const float* const row = metric.data + j * metric.row_stride;
    Vector pull[kVectors] = {};
    for (int64_t k = 0; metric.data != nullptr && k < j; ++k) {
      const float factor = 2.0f * row[k * metric.col_stride];
      for (int v = 0; v < kVectors; ++v) pull[v] += reinterpret_cast<const Vector*>(error[k].x)[v] * factor;
    }
    const float own = metric.data != nullptr ? row[j * metric.col_stride] : 1.0f;
    for (int v = 0; v < kVectors; ++v) {
      const Vector e = reinterpret_cast<const Vector*>(error[j].x)[v];
      sum[v] += e * (pull[v] + e * own);
    }
  }
  for (int v = 0; v < kVectors; ++v) reinterpret_cast<Vector*>(cost->x)[v] = sum[v];
}

template <Code kCode>
void search_as(const SearchBlock& block) {
  Lanes weight[kMaxBlockCols], error[kMaxBlockCols], values[kMaxBlockCols], best[kMaxBlockCols];
  for (int64_t row = 0; row < block.rows; row += kLanes) {
    const int64_t lanes = block.rows - row < kLanes ? block.rows - row : kLanes;
    load(block.weight, row, lanes, block.cols, 0.0f, weight);
    Lanes least, best_scale;
    for (int64_t c = 0; c < block.candidates; ++c) {
      Lanes scale, cost;
      const View<const float> tried = {block.tried.data + c * block.tried.row_stride, block.tried.col_stride,
                                       0};
      load(tried, row, lanes, 1, 1.0f, &scale);
      for (int64_t j = 0; j < block.cols; ++j) {
        for (int l = 0; l < kLanes; ++l) {
          const float s = scale.x[l], u = weight[j].x[l] / s;
          const float value = nearest<kCode>(s > 0.0f ? u : 0.0f);
          values[j].x[l] = value;
          error[j].x[l] = value * s - weight[j].x[l];
        }
      }
      weigh(error, block.metric, block.cols, &cost);
      int32_t better[kLanes];
      for (int l = 0; l < kLanes; ++l) {
        better[l] = c == 0 || cost.x[l] < least.x[l];
        least.x[l] = better[l] ? cost.x[l] : least.x[l];
        best_scale.x[l] = better[l] ? scale.x[l] : best_scale.x[l];
      }
      for (int64_t j = 0; j < block.cols; ++j) {
        for (int l = 0; l < kLanes; ++l) best[j].x[l] = better[l] ? values[j].x[l] : best[j].x[l];
      }
    }
    store(&best_scale, block.scale, row, lanes, 1);
    store(best, block.values, row, lanes, block.cols);
  }
}

void round(Code code, const RoundingBlock& block, View<const float> target) {
  with_code(code, [&]<Code kCode>() { round_as<kCode>(block, target); });
}

void refine(Code code, const RoundingBlock& block, View<const float> gradient, View<float> change) {
  with_code(code, [&]<Code kCode>() { refine_as<kCode>(block, gradient, change); });
}

void search(Code code, const SearchBlock& block) {
  with_code(code, [&]<Code kCode>() { search_as<kCode>(block); });
}

/// A vector wherever floats lie.
typedef float Unaligned __attribute__((vector_size(sizeof(Vector)), aligned(4), may_alias));

/// One row's sums over kWidth vectors of columns, which stay in registers.
template <int kWidth>
void add_vectors(const SparseRows& a, int64_t row, View<const float> b, int64_t first, float* sum) {
  constexpr int64_t kFloats = sizeof(Vector) / sizeof(float);
  Vector sums[static_cast<uint32_t>(kWidth)];
#pragma GCC unroll 8
  for (int v = 0; v < kWidth; ++v) sums[v] = *reinterpret_cast<const Unaligned*>(sum + v * kFloats);
  for (int64_t k = a.begins[row]; k < a.begins[row + 1]; ++k) {
    const float* const of = b.data + a.columns[k] * b.row_stride + first;
    const float amount = a.amounts[k];
#pragma GCC unroll 8
    for (int v = 0; v < kWidth; ++v)
      sums[v] += amount * *reinterpret_cast<const Unaligned*>(of + v * kFloats);
  }
#pragma GCC unroll 8
  for (int v = 0; v < kWidth; ++v) *reinterpret_cast<Unaligned*>(sum + v * kFloats) = sums[v];
}

void add_column(const SparseRows& a, int64_t row, View<const float> b, int64_t column, float* sum) {
  for (int64_t k = a.begins[row]; k < a.begins[row + 1]; ++k)
    *sum += a.amounts[k] * b.data[a.columns[k] * b.row_stride + column];
}

void add_sparse(const SparseRows& a, View<const float> b, int64_t width, View<float> sum) {
  constexpr int kVectorsWide = 8;
  constexpr int64_t kWide = kVectorsWide * static_cast<int64_t>(sizeof(Vector) / sizeof(float));
  constexpr int64_t kStrip = 256;  // columns of b that stay in the cache for all rows of a
  static_assert(kStrip % kWide == 0);
  for (int64_t strip = 0; strip < width; strip += kStrip) {
    const int64_t end = width - strip < kStrip ? width : strip + kStrip;
    for (int64_t row = 0; row < a.rows; ++row) {
      float* const out = sum.data + row * sum.row_stride;
      int64_t i = strip;
      for (; i + kWide <= end; i += kWide) add_vectors<kVectorsWide>(a, row, b, i, out + i);
      for (; i < end; ++i) add_column(a, row, b, i, out + i);
    }
  }
}

}  // namespace

extern const LdlqKernels kLdlqKernels = {round, refine, search, add_sparse};

}  // namespace ctq::linalg::cpu::CTQ_KERNEL_ISA
