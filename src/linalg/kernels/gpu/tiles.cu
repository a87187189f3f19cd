// A thread to a column, of some rows in turn: neighbouring threads read and write neighbouring elements.
#include "linalg/kernels/gpu/tiles.cuh"

#include "linalg/kernels/gpu/launch.h"
#include "linalg/kernels/grids.h"

namespace ctq::linalg::gpu {
namespace {

constexpr int kThreads = 256, kWarp = 32;
constexpr int64_t kRowsInTurn = 16, kMostBlocksDown = 65535;
constexpr unsigned kAllLanes = 0xFFFFFFFFu;

__host__ __device__ constexpr int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// What a thread goes through: rows [first, end) of one column.
struct Strip {
  int64_t column, first, step;

  __device__ Strip()
      : column(int64_t{blockIdx.x} * kThreads + static_cast<int>(threadIdx.x)),
        first(int64_t{blockIdx.y} * kRowsInTurn),
        step(int64_t{gridDim.y} * kRowsInTurn) {}

  /// Calls run(row, row of tiles, whether the next row is of another one or of another thread) for the rows
  /// that are this thread's.
  template <typename Run>
  __device__ __forceinline__ void for_rows(const Tiles& tiles, const Run& run) const {
    for (int64_t begin = first; begin < tiles.rows; begin += step) {
      const int64_t end = begin + kRowsInTurn < tiles.rows ? begin + kRowsInTurn : tiles.rows;
      int64_t down = begin / tiles.tile_rows, next = (down + 1) * tiles.tile_rows;
      for (int64_t row = begin; row < end; ++row) {
        const bool last = row + 1 == end || row + 1 == next;
        run(row, down, last);
        if (row + 1 == next) {
          ++down;
          next += tiles.tile_rows;
        }
      }
    }
  }
};

dim3 strips(const Tiles& tiles) {
  const int64_t down = up(tiles.rows, kRowsInTurn);
  return dim3(static_cast<unsigned>(up(tiles.cols, kThreads)),
              static_cast<unsigned>(down < kMostBlocksDown ? down : kMostBlocksDown));
}

/// together: neighbouring threads that are in one tile wherever they are, a power of two up to a warp
template <typename T>
__global__ void __launch_bounds__(kThreads)
    amax_kernel(const T* weight, Tiles tiles, int together, uint32_t* bits) {
  const Strip strip;
  const int64_t across = up(tiles.cols, tiles.tile_cols);
  const bool live = strip.column < tiles.cols;
  const int64_t tile = live ? strip.column / tiles.tile_cols : 0;
  const bool leads = live && static_cast<int>(threadIdx.x) % together == 0;
  uint32_t most = 0;
  strip.for_rows(tiles, [&](int64_t row, int64_t down, bool last) {
    const float value = live ? widen(weight[row * tiles.cols + strip.column]) : 0.0f;
    const auto magnitude = static_cast<uint32_t>(bits_of(value) & kMagnitudeBits);
    most = magnitude > most ? magnitude : most;
    if (!last) return;
    for (int step = 1; step < together; step *= 2) {
      const uint32_t other = __shfl_xor_sync(kAllLanes, most, step);
      most = other > most ? other : most;
    }
    if (leads) atomicMax(bits + down * across + tile, most);
    most = 0;
  });
}

template <typename T, Code kCode>
__global__ void __launch_bounds__(kThreads)
    encode_kernel(const T* weight, Tiles tiles, bool divide, const float* factors, uint8_t* codes) {
  const Strip strip;
  if (strip.column >= tiles.cols) return;
  const int64_t across = up(tiles.cols, tiles.tile_cols), tile = strip.column / tiles.tile_cols;
  strip.for_rows(tiles, [&](int64_t row, int64_t down, bool) {
    const float factor = factors[down * across + tile];
    const int64_t i = row * tiles.cols + strip.column;
    const float w = widen(weight[i]), u = divide ? w / factor : w * factor;
    codes[i] = encode_value<kCode>(factor == 0.0f ? 0.0f : u);
  });
}

template <Code kCode>
__global__ void __launch_bounds__(kThreads)
    decode_kernel(const uint8_t* codes, Tiles tiles, const float* scales, float* values) {
  const Strip strip;
  if (strip.column >= tiles.cols) return;
  const int64_t across = up(tiles.cols, tiles.tile_cols), tile = strip.column / tiles.tile_cols;
  strip.for_rows(tiles, [&](int64_t row, int64_t down, bool) {
    const int64_t i = row * tiles.cols + strip.column;
    values[i] = decode_value<kCode>(codes[i]) * scales[down * across + tile];
  });
}

__global__ void __launch_bounds__(kThreads)
    pack_kernel(const uint8_t* codes, int64_t n, bool even_is_high, uint8_t* packed) {
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + static_cast<int>(threadIdx.x); i < n; i += step) {
    const unsigned even = codes[2 * i], odd = codes[2 * i + 1];
    const unsigned high = even_is_high ? even : odd, low = even_is_high ? odd : even;
    packed[i] = static_cast<uint8_t>(high << 4 | (low & 15));
  }
}

struct Sum {
  static __device__ double of(double a, double b) { return a + b; }
};
struct Largest {
  static __device__ double of(double a, double b) { return b > a ? b : a; }
};

/// Of all threads of a block, in an order that is always the same; at thread 0.
template <typename Combined>
__device__ double combined(double value, double* shared) {
  const int thread = static_cast<int>(threadIdx.x);
  shared[thread] = value;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (thread < half) shared[thread] = Combined::of(shared[thread], shared[thread + half]);
    __syncthreads();
  }
  const double result = shared[0];
  __syncthreads();
  return result;
}

/// Without rounding float64 to float32.
template <typename T>
__device__ double exact(T x) {
  return static_cast<double>(widen(x));
}
template <>
__device__ double exact(double x) {
  return x;
}

template <typename Original, typename Decoded>
__global__ void __launch_bounds__(kThreads)
    difference_kernel(const Original* original, const Decoded* decoded, int64_t n, double* sums) {
  __shared__ double shared[kThreads];
  const int64_t piece = difference_piece(n), begin = int64_t{blockIdx.x} * piece,
                end = begin + piece < n ? begin + piece : n;
  double errors = 0, error_squares = 0, weights = 0, weight_squares = 0, most = 0, zeros = 0;
  for (int64_t i = begin + static_cast<int>(threadIdx.x); i < end; i += kThreads) {
    const double w = exact(original[i]), d = exact(decoded[i]), e = d - w;
    errors += e;
    error_squares += e * e;
    weights += w;
    weight_squares += w * w;
    most = Largest::of(most, e < 0 ? -e : e);
    zeros += d == 0 && w != 0 ? 1 : 0;
  }
  const double all[kDifferenceSums] = {combined<Sum>(errors, shared),   combined<Sum>(error_squares, shared),
                                       combined<Sum>(weights, shared),  combined<Sum>(weight_squares, shared),
                                       combined<Largest>(most, shared), combined<Sum>(zeros, shared)};
  if (threadIdx.x > 0) return;
  for (int s = 0; s < kDifferenceSums; ++s) sums[int64_t{blockIdx.x} * kDifferenceSums + s] = all[s];
}

template <typename T>
const T* typed(const void* data, T) {
  return static_cast<const T*>(data);
}

}  // namespace

int tile_amax(Source source, const void* weight, const Tiles& tiles, uint32_t* bits, Queue queue) {
  int together = 1;
  while (together < kWarp && tiles.tile_cols % (2 * together) == 0) together *= 2;
  if (tiles.tile_cols >= tiles.cols) together = kWarp;
  return with_source(source, [&](auto element) {
    return launch(amax_kernel<decltype(element)>, strips(tiles), dim3(kThreads), 0, queue.device,
                  queue.stream, typed(weight, element), tiles, together, bits);
  });
}

int encode_tiles(Source source, Code code, bool divide, const void* weight, const Tiles& tiles,
                 const float* factor, void* codes, Queue queue) {
  return with_source(source, [&](auto element) {
    return with_code(code, [&]<Code kCode>() {
      return launch(encode_kernel<decltype(element), kCode>, strips(tiles), dim3(kThreads), 0, queue.device,
                    queue.stream, typed(weight, element), tiles, divide, factor,
                    static_cast<uint8_t*>(codes));
    });
  });
}

int decode_tiles(Code code, const void* codes, const Tiles& tiles, const float* scale, float* values,
                 Queue queue) {
  return with_code(code, [&]<Code kCode>() {
    return launch(decode_kernel<kCode>, strips(tiles), dim3(kThreads), 0, queue.device, queue.stream,
                  static_cast<const uint8_t*>(codes), tiles, scale, values);
  });
}

int pack_nibbles(const void* codes, int64_t n, bool even_is_high, void* packed, Queue queue) {
  const int64_t blocks = up(n, kThreads);
  const dim3 grid(static_cast<unsigned>(blocks < kMostBlocksDown ? blocks : kMostBlocksDown));
  return launch(pack_kernel, grid, dim3(kThreads), 0, queue.device, queue.stream,
                static_cast<const uint8_t*>(codes), n, even_is_high, static_cast<uint8_t*>(packed));
}

int difference_sums(Source original_source, const void* original, Source decoded_source, const void* decoded,
                    int64_t n, double* sums, Queue queue) {
  return with_source(original_source, [&](auto element) {
    return with_source(decoded_source, [&](auto other) {
      return launch(difference_kernel<decltype(element), decltype(other)>,
                    dim3(static_cast<unsigned>(kDifferencePieces)), dim3(kThreads), 0, queue.device,
                    queue.stream, typed(original, element), typed(decoded, other), n, sums);
    });
  });
}

}  // namespace ctq::linalg::gpu
