// Weights, second moments and settings that the solvers' tests share.
#pragma once

#include <vector>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>

#include "linalg/tiles.h"

namespace ctq::test {

inline at::Tensor normal(at::IntArrayRef sizes, uint64_t seed, at::ScalarType type = at::kDouble) {
  return at::randn(sizes, at::make_generator<at::CPUGeneratorImpl>(seed),
                   at::TensorOptions().dtype(at::kDouble))
      .to(type);
}

/// X^T X / n of rows whose columns are correlated and of unequal size.
inline at::Tensor second_moment(int64_t columns, int64_t rows, uint64_t seed) {
  const at::Tensor mix = at::eye(columns, at::kDouble) + normal({columns, columns}, seed + 1) * 0.3;
  const at::Tensor x = at::matmul(normal({rows, columns}, seed), mix) * normal({columns}, seed + 2).exp();
  return at::matmul(x.t(), x) / static_cast<double>(rows);
}

inline float max_abs(linalg::Code code) {
  switch (code) {
    case linalg::Code::kInt8: return 127;
    case linalg::Code::kE4M3: return 448;
    case linalg::Code::kE5M2: return 57344;
    case linalg::Code::kE2M1: return 6;
    case linalg::Code::kInt4:
    case linalg::Code::kNibble: return 7;
    case linalg::Code::kLevel16: return 0.98f;
  }
  return 0;
}

/// One scale for all, per row, per square block and per run of columns.
inline std::vector<linalg::Tiling> all_tilings(int64_t rows, int64_t columns) {
  return {{rows, columns}, {1, columns}, {16, 16}, {128, 128}, {1, 32}};
}

inline at::Tensor absmax_scale(const at::Tensor& weight, linalg::Tiling tiling, linalg::Code code) {
  return linalg::tile_amax(weight.contiguous(), tiling).to(at::kFloat) / max_abs(code);
}

/// [rows, columns] of the weight's type.
inline at::Tensor expand_scale(const at::Tensor& scale, linalg::Tiling tiling, const at::Tensor& weight) {
  const at::Tensor down = at::arange(weight.size(0)).div(tiling.rows, "floor");
  const at::Tensor across = at::arange(weight.size(1)).div(tiling.cols, "floor");
  return scale.index_select(0, down).index_select(1, across).to(weight.scalar_type());
}

/// The results of run() with 1, 2 and 7 threads.
template <typename Run>
auto with_threads(const Run& run) {
  const int before = at::get_num_threads();
  std::vector<decltype(run())> results;
  for (int threads : {1, 2, 7}) {
    at::set_num_threads(threads);
    results.push_back(run());
  }
  at::set_num_threads(before);
  return results;
}

}  // namespace ctq::test
