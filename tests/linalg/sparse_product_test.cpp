#include "linalg/sparse_product.h"

#include <cstdint>
#include <vector>

#include <ATen/ATen.h>
#include <catch2/catch.hpp>

#include "linalg/golden.h"
#include "linalg/kernels/cpu/ldlq_kernels.h"
#include "linalg/kernels/cpu/tile_kernels.h"
#include "linalg/solver_inputs.h"

namespace ctq::linalg {
namespace {

/// Normal with so many elements of a hundred, the others zeros.
at::Tensor scattered(int64_t rows, int64_t cols, int percent, at::ScalarType type) {
  const at::Tensor chosen = at::arange(rows * cols).mul(37).remainder(100).lt(percent).reshape({rows, cols});
  return at::where(chosen, test::normal({rows, cols}, 5, type), at::zeros({}, type));
}

}  // namespace

TEST_CASE("sparse product: sum + a b, whatever a holds and however b lies", "[linalg]") {
  const auto type = GENERATE(at::kFloat, at::kDouble);
  const int percent = GENERATE(0, 3, 16, 17, 100);
  const int64_t width = GENERATE(1, 63, 64, 200, 1000);
  const bool apart = GENERATE(false, true);
  CAPTURE(static_cast<int>(type), percent, width, apart);
  const at::Tensor x = test::normal({width, 60}, 2, type), whole = scattered(37, 80, percent, type);
  const at::Tensor a = whole.narrow(1, 11, 60);  // rows that do not touch
  const at::Tensor b = (apart ? with_columns_apart(x) : x).t();
  CHECK(at::equal(b, x.t()));
  at::Tensor sum = test::normal({37, width}, 3, type);
  const at::Tensor expected = sum.to(at::kDouble) + a.to(at::kDouble).mm(x.t().to(at::kDouble));
  add_product(sum, a, b);
  CHECK(at::allclose(sum.to(at::kDouble), expected, 1e-5, type == at::kFloat ? 1e-5 : 1e-12));
}

TEST_CASE("sparse product kernels: the same bits for all instruction sets", "[linalg]") {
  const std::vector<int64_t> begins = {0, 2, 2, 5};
  const std::vector<int32_t> columns = {0, 3, 1, 2, 3};
  const std::vector<float> amounts = {0.5f, -1.25f, 3.0f, 1e-3f, 7.0f};
  const at::Tensor b = test::normal({4, 333}, 1, at::kFloat), before = test::normal({3, 333}, 2, at::kFloat);
  std::vector<at::Tensor> results;
  for (const char* isa : {"baseline", "avx2", "avx512"}) {
    if (cpu::find_kernels(isa) == nullptr) continue;
    CAPTURE(isa);
    at::Tensor sum = before.clone();
    cpu::find_ldlq_kernels(isa)->add_sparse(
        {.rows = 3, .begins = begins.data(), .columns = columns.data(), .amounts = amounts.data()},
        {b.const_data_ptr<float>(), b.stride(0), 1}, 333, {sum.mutable_data_ptr<float>(), sum.stride(0), 1});
    results.push_back(sum);
    CHECK(test::same_bits(results[0], results.back()));
  }
  CHECK(at::equal(results[0][1], before[1]));
  CHECK(at::allclose(results[0][0], before[0] + 0.5 * b[0] - 1.25 * b[3], 1e-6, 1e-6));
}

}  // namespace ctq::linalg
