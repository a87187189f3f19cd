#include "gpu/twins.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>

#include "linalg/hadamard.h"
#include "linalg/kernels/cpu/ldlq_kernels.h"
#include "linalg/kernels/cpu/tile_kernels.h"
#include "linalg/kernels/grids.h"

namespace ctq::linalg::twins {
namespace {

template <typename T>
T at(const View<T>& view, int64_t row, int64_t col) {
  return view.data[row * view.row_stride + col * view.col_stride];
}

int64_t bytes_of(Source source) {
  return with_source(source, [](auto element) { return static_cast<int64_t>(sizeof element); });
}

const std::byte* row_of(const void* data, int64_t row, int64_t row_bytes) {
  return static_cast<const std::byte*>(data) + row * row_bytes;
}

/// Calls run(first row, band, index of the row of tiles) for every row of tiles.
template <typename Run>
void for_bands(const gpu::Tiles& tiles, const Run& run) {
  for (int64_t row = 0, down = 0; row < tiles.rows; row += tiles.tile_rows, ++down)
    run(row, cpu::Band{std::min(tiles.tile_rows, tiles.rows - row), tiles.cols, tiles.tile_cols}, down);
}

int64_t across(const gpu::Tiles& tiles) { return (tiles.cols + tiles.tile_cols - 1) / tiles.tile_cols; }

double exact(Source source, const void* data, int64_t i) {
  return with_source(source, [&](auto element) {
    const auto value = static_cast<const decltype(element)*>(data)[i];
    if constexpr (std::is_same_v<decltype(element), double>)
      return value;
    else
      return double{widen(value)};
  });
}

}  // namespace

void round(Code code, const RoundingBlock& block, View<const float> target, gpu::RowCosts costs) {
  // What is rounded may be written over.
  std::vector<float> ideal(static_cast<size_t>(block.rows * block.cols));
  for (int64_t row = 0; row < block.rows; ++row)
    for (int64_t col = 0; col < block.cols; ++col)
      ideal[static_cast<size_t>(row * block.cols + col)] = at(target, row, col);
  cpu::ldlq_kernels().round(code, block, target);
  for (int64_t row = 0; row < block.rows && costs.pivots != nullptr; ++row) {
    for (int64_t j = 0; j < block.cols; ++j) {
      // q_j - t_j is what the errors before it, and its own, add to the target.
      float off = at(block.values, row, j) * at(block.scale, row, j) -
                  ideal[static_cast<size_t>(row * block.cols + j)];
      for (int64_t i = 0; i < j; ++i) off += at(block.error, row, i) * at(block.coupling, i, j);
      costs.cost[row] += double{off * off * costs.pivots[j]};
    }
  }
}

void refine(Code code, const RoundingBlock& block, View<const float> gradient, View<float> change) {
  cpu::ldlq_kernels().refine(code, block, gradient, change);
}

void search(Code code, const gpu::SearchRuns& runs) {
  const int64_t count = (runs.cols + runs.run - 1) / runs.run;
  for (int64_t tile = 0; tile < count; ++tile) {
    const int64_t begin = tile * runs.run;
    const float* const metric = runs.metric ? runs.metric + tile * runs.run * runs.run : nullptr;
    cpu::ldlq_kernels().search(code, {.rows = runs.rows,
                                      .cols = std::min(runs.run, runs.cols - begin),
                                      .candidates = runs.candidates,
                                      .weight = {runs.weight.data + begin * runs.weight.col_stride,
                                                 runs.weight.row_stride, runs.weight.col_stride},
                                      .tried = {runs.tried + tile, runs.rows * count, count},
                                      .metric = {metric, runs.run, 1},
                                      .scale = {runs.scale + tile, count, 0},
                                      .values = {runs.values + begin, runs.cols, 1}});
  }
}

void amax(Source source, const void* weight, const gpu::Tiles& tiles, uint32_t* bits) {
  for_bands(tiles, [&](int64_t row, const cpu::Band& band, int64_t down) {
    std::vector<uint32_t> found(static_cast<size_t>(across(tiles)));
    cpu::kernels().amax(source, row_of(weight, row, tiles.cols * bytes_of(source)), band, found.data());
    for (size_t i = 0; i < found.size(); ++i) {
      uint32_t& most = bits[down * across(tiles) + static_cast<int64_t>(i)];
      most = std::max(most, found[i]);
    }
  });
}

void encode(Source source, Code code, bool divide, const void* weight, const gpu::Tiles& tiles,
            const float* factor, void* codes) {
  for_bands(tiles, [&](int64_t row, const cpu::Band& band, int64_t down) {
    cpu::kernels().encode(source, code, divide, row_of(weight, row, tiles.cols * bytes_of(source)), band,
                          factor + down * across(tiles), static_cast<std::byte*>(codes) + row * tiles.cols);
  });
}

void decode(Code code, const void* codes, const gpu::Tiles& tiles, const float* scale, float* values) {
  for_bands(tiles, [&](int64_t row, const cpu::Band& band, int64_t down) {
    cpu::kernels().decode(code, row_of(codes, row, tiles.cols), band, scale + down * across(tiles),
                          values + row * tiles.cols);
  });
}

void pack(const void* codes, int64_t n, bool even_is_high, void* packed) {
  cpu::kernels().pack_nibbles(codes, n, even_is_high, packed);
}

void hadamard(float* x, int64_t count, int64_t n, bool regular) {
  const at::Tensor runs = at::from_blob(x, {count / n, n}, at::kFloat);
  runs.copy_(regular ? rotate_columns(runs, n) : walsh_hadamard(runs, 1));
}

void differences(Source original_source, const void* original, Source decoded_source, const void* decoded,
                 int64_t n, double* sums) {
  const int64_t piece = gpu::difference_piece(n);
  for (int64_t p = 0; p < gpu::kDifferencePieces; ++p) {
    double found[gpu::kDifferenceSums] = {};
    for (int64_t i = p * piece; i < std::min((p + 1) * piece, n); ++i) {
      const double w = exact(original_source, original, i), d = exact(decoded_source, decoded, i), e = d - w;
      found[0] += e;
      found[1] += e * e;
      found[2] += w;
      found[3] += w * w;
      found[4] = std::max(found[4], std::abs(e));
      found[5] += d == 0 && w != 0 ? 1 : 0;
    }
    std::copy(std::begin(found), std::end(found), sums + p * gpu::kDifferenceSums);
  }
}

}  // namespace ctq::linalg::twins
