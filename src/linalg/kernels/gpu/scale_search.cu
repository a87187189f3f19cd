// A thread to a column: threads x are the columns of a run, threads y rows; blocks x are runs, blocks y take
// rows in turn. A run's errors lie in shared memory, its metric in the cache. Sums go in the order of columns,
// as on the CPU, so that of equally good scales the same one wins.
#include "linalg/kernels/gpu/scale_search.cuh"

#include "linalg/kernels/gpu/launch.h"
#include "linalg/kernels/grids.h"

namespace ctq::linalg::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kRowBlocks = 64;

template <Code kCode>
__global__ void __launch_bounds__(kThreads) search_kernel(SearchRuns runs) {
  __shared__ float errors[kThreads], terms[kThreads];
  const int64_t across = gridDim.x, tile = blockIdx.x, begin = tile * runs.run;
  const int run = static_cast<int>(runs.run), column = static_cast<int>(threadIdx.x),
            line = static_cast<int>(threadIdx.y);
  const int width = runs.cols - begin < run ? static_cast<int>(runs.cols - begin) : run;
  float* const row_errors = errors + line * run;
  float* const row_terms = terms + line * run;
  const float* const metric = runs.metric == nullptr ? nullptr : runs.metric + tile * run * run;
  const bool weighs = metric != nullptr && column < width;
  const int before = weighs ? column : 0;
  const float own = weighs ? metric[column * run + column] : 1.0f;
  const int64_t step = int64_t{gridDim.y} * blockDim.y;
  for (int64_t first = int64_t{blockIdx.y} * blockDim.y; first < runs.rows; first += step) {
    const int64_t row = first + line;
    const bool live = row < runs.rows && column < width;
    const float weight =
        live ? runs.weight.data[row * runs.weight.row_stride + (begin + column) * runs.weight.col_stride]
             : 0.0f;
    float best = 0, best_scale = 0, least = 0;
    CTQ_LOOP
    for (int64_t c = 0; c < runs.candidates; ++c) {
      const float s = row < runs.rows ? runs.tried[(c * runs.rows + row) * across + tile] : 1.0f;
      const float u = weight / s;
      const float value = nearest<kCode>(s > 0.0f ? u : 0.0f);
      const float e = value * s - weight;
      row_errors[column] = e;
      __syncthreads();
      float pull = 0;
      CTQ_LOOP
      for (int k = 0; k < before; ++k) pull += row_errors[k] * (2.0f * metric[k * run + column]);
      row_terms[column] = e * (pull + e * own);
      __syncthreads();
      float cost = 0;
      for (int k = 0; k < width; ++k) cost += row_terms[k];
      if (c == 0 || cost < least) least = cost, best = value, best_scale = s;
    }
    if (!live) continue;
    runs.values[row * runs.cols + begin + column] = best;
    if (column == 0) runs.scale[row * across + tile] = best_scale;
  }
}

}  // namespace

int search_runs(Code code, const SearchRuns& runs, Queue queue) {
  const int64_t across = (runs.cols + runs.run - 1) / runs.run, lines = kThreads / runs.run;
  const int64_t row_blocks = (runs.rows + lines - 1) / lines;
  const dim3 grid(static_cast<unsigned>(across),
                  static_cast<unsigned>(row_blocks < kRowBlocks ? row_blocks : kRowBlocks));
  const dim3 block(static_cast<unsigned>(runs.run), static_cast<unsigned>(lines));
  return with_code(code, [&]<Code kCode>() {
    return launch(search_kernel<kCode>, grid, block, 0, queue.device, queue.stream, runs);
  });
}

}  // namespace ctq::linalg::gpu
