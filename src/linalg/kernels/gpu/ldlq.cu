// kLanes lanes share a row: column c of the block lies in register c / kLanes of lane c % kLanes; the coupling
// lies in shared memory. The lane that owns a column rounds it and hands its error to the others; each then
// corrects its own columns. So a column costs a division, a rounding and a shuffle of latency, and no warp
// waits for another one.
#include "linalg/kernels/gpu/ldlq.cuh"

#include "linalg/kernels/gpu/launch.h"
#include "linalg/kernels/grids.h"

namespace ctq::linalg::gpu {
namespace {

constexpr int kCols = static_cast<int>(kMaxBlockCols);
constexpr int kLanes = 8, kPerLane = kCols / kLanes, kThreads = 256, kRows = kThreads / kLanes;
constexpr unsigned kAllLanes = 0xFFFFFFFFu;
constexpr size_t kCouplingBytes = sizeof(float) * kCols * kCols;
static_assert(kPerLane <= 32, "a bit of a word for each");

// As on the CPU: a gain in the objective must exceed this part of delta^2 H_jj.
constexpr float kLeastGain = 1e-3f;

template <typename T>
__device__ __forceinline__ T& at(const View<T>& view, int64_t row, int64_t col) {
  return view.data[row * view.row_stride + col * view.col_stride];
}

/// With zeros below the diagonal, so that a column that is done stays as it is.
__device__ __forceinline__ void load_coupling(const RoundingBlock& block, bool diagonal, float* coupling) {
  for (int i = static_cast<int>(threadIdx.x); i < kCols * kCols; i += kThreads) {
    const int row = i / kCols, col = i % kCols;
    const bool read = (diagonal ? row <= col : row < col) && col < block.cols;
    coupling[i] = read ? at(block.coupling, row, col) : 0.0f;
  }
  __syncthreads();
}

/// What a thread has to do with.
struct Place {
  int lane;
  int64_t row;
  bool live;

  __device__ explicit Place(const RoundingBlock& block)
      : lane(static_cast<int>(threadIdx.x) % kLanes),
        row(int64_t{blockIdx.x} * kRows + static_cast<int>(threadIdx.x) / kLanes),
        live(row < block.rows) {}

  __device__ int column(int r) const { return r * kLanes + lane; }

  template <typename T>
  __device__ void load(const View<T>& view, int64_t cols, float fill, float* values) const {
    CTQ_UNROLL
    for (int r = 0; r < kPerLane; ++r) values[r] = live && column(r) < cols ? at(view, row, column(r)) : fill;
  }
  __device__ void store(const float* values, int64_t cols, const View<float>& view) const {
    if (!live) return;
    CTQ_UNROLL
    for (int r = 0; r < kPerLane; ++r)
      if (column(r) < cols) at(view, row, column(r)) = values[r];
  }
};

/// moved_k += amount * coupling_jk for k > j, j being column r of the lane `owner`. of_column: row j
__device__ __forceinline__ void spread(float amount, const float* of_column, int r, bool after_owner,
                                       int lane, float* moved) {
  if (after_owner) moved[r] += amount * of_column[r * kLanes + lane];
  CTQ_UNROLL
  for (int k = 0; k < kPerLane; ++k)
    if (k > r) moved[k] += amount * of_column[k * kLanes + lane];
}

template <Code kCode>
__global__ void __launch_bounds__(kThreads)
    round_kernel(RoundingBlock block, View<const float> target, RowCosts costs) {
  CTQ_DYNAMIC_SHARED(float, coupling);
  load_coupling(block, /*diagonal=*/false, coupling);
  const Place place(block);
  float ideal[kPerLane], error[kPerLane], scale[kPerLane];  // ideal becomes the value, the weight the error
  place.load(target, block.cols, 0.0f, ideal);
  place.load(block.weight, block.cols, 0.0f, error);
  place.load(block.scale, block.cols, 1.0f, scale);
  double cost = 0;
  CTQ_UNROLL
  for (int r = 0; r < kPerLane; ++r) {
    if (r * kLanes >= block.cols) break;  // so for all threads
    CTQ_LOOP
    for (int owner = 0; owner < kLanes; ++owner) {
      const float s = scale[r], u = ideal[r] / s;
      const float value = nearest<kCode>(s > 0.0f ? u : 0.0f);
      const float rounded = value * s, missed = rounded - error[r];
      const float correction = __shfl_sync(kAllLanes, -missed, owner, kLanes);
      const int column = r * kLanes + owner;
      if (place.lane == owner) {
        if (costs.pivots != nullptr && column < block.cols) {
          const float off = rounded - ideal[r];
          cost += off * off * costs.pivots[column];
        }
        ideal[r] = value;
        error[r] = missed;
      }
      spread(correction, coupling + column * kCols, r, place.lane > owner, place.lane, ideal);
    }
  }
  place.store(ideal, block.cols, block.values);
  place.store(error, block.cols, block.error);
  if (costs.pivots == nullptr) return;
  CTQ_UNROLL
  for (int step = 1; step < kLanes; step *= 2) cost += __shfl_xor_sync(kAllLanes, cost, step, kLanes);
  if (place.live && place.lane == 0) costs.cost[place.row] += cost;
}

template <Code kCode>
__global__ void __launch_bounds__(kThreads)
    refine_kernel(RoundingBlock block, View<const float> gradient_of, View<float> change) {
  CTQ_DYNAMIC_SHARED(float, coupling);
  load_coupling(block, /*diagonal=*/true, coupling);
  const Place place(block);
  float gradient[kPerLane], values[kPerLane], scale[kPerLane];
  place.load(gradient_of, block.cols, 0.0f, gradient);
  place.load(block.values, block.cols, 0.0f, values);
  place.load(block.scale, block.cols, 1.0f, scale);
  uint32_t looked_at = 0;  // a bit for every column of this lane
  CTQ_UNROLL
  for (int r = 0; r < kPerLane; ++r) {
    if (r * kLanes >= block.cols) break;  // so for all threads
    CTQ_LOOP
    for (int owner = 0; owner < kLanes; ++owner) {
      const float* const of_column = coupling + (r * kLanes + owner) * kCols;
      const float h = of_column[r * kLanes + owner];
      if (!(h > 0.0f)) continue;  // so for all threads
      const float s = scale[r], old = values[r], g = gradient[r];
      const float u = (old * s - g / h) / s;
      const float candidate = nearest<kCode>(s > 0.0f ? u : 0.0f);
      const float delta = (candidate - old) * s;
      const float gain = -delta * (2.0f * g + delta * h);
      const bool better = gain > kLeastGain * (delta * delta) * h;
      const float moved = __shfl_sync(kAllLanes, better ? delta : 0.0f, owner, kLanes);
      if (place.lane == owner) {
        values[r] = better ? candidate : old;
        looked_at |= 1u << r;
      }
      spread(moved, of_column, r, place.lane > owner, place.lane, gradient);
    }
  }
  if (!place.live) return;
  CTQ_UNROLL
  for (int r = 0; r < kPerLane; ++r) {
    const int column = place.column(r);
    if (column >= block.cols) continue;
    float& error = at(block.error, place.row, column);
    const float before = error;
    const float after =
        (looked_at >> r & 1) != 0 ? values[r] * scale[r] - at(block.weight, place.row, column) : before;
    at(block.values, place.row, column) = values[r];
    error = after;
    at(change, place.row, column) = after - before;
  }
}

dim3 blocks_of(const RoundingBlock& block) {
  return dim3(static_cast<unsigned>((block.rows + kRows - 1) / kRows));
}

}  // namespace

int round_block(Code code, const RoundingBlock& block, View<const float> target, RowCosts costs,
                Queue queue) {
  return with_code(code, [&]<Code kCode>() {
    return launch(round_kernel<kCode>, blocks_of(block), dim3(kThreads), kCouplingBytes, queue.device,
                  queue.stream, block, target, costs);
  });
}

int refine_block(Code code, const RoundingBlock& block, View<const float> gradient, View<float> change,
                 Queue queue) {
  return with_code(code, [&]<Code kCode>() {
    return launch(refine_kernel<kCode>, blocks_of(block), dim3(kThreads), kCouplingBytes, queue.device,
                  queue.stream, block, gradient, change);
  });
}

}  // namespace ctq::linalg::gpu
