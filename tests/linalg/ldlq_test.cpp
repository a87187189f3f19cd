#include "linalg/ldlq.h"

#include <cmath>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "linalg/objective.h"

#include "linalg/coordinate_descent.h"
#include "linalg/golden.h"
#include "linalg/kernels/cpu/ldlq_kernels.h"
#include "linalg/kernels/cpu/tile_kernels.h"
#include "linalg/nearest.h"
#include "linalg/reference.h"
#include "linalg/solver_inputs.h"

namespace ctq::linalg {
namespace {

/// GPTQ as the paper states it, one element at a time: through the upper Cholesky factor C of H^-1.
at::Tensor column_by_column(const at::Tensor& weight, const at::Tensor& damped, const at::Tensor& order,
                            Code code, const at::Tensor& scale_of_each) {
  const int64_t rows = weight.size(0), columns = weight.size(1);
  const at::Tensor ordered = damped.index_select(0, order).index_select(1, order);
  const at::Tensor factor = at::linalg_cholesky(at::linalg_inv(ordered), /*upper=*/true).contiguous();
  const auto c = factor.accessor<double, 2>();
  at::Tensor moving = weight.index_select(1, order).contiguous(), values = at::empty_like(weight);
  const at::Tensor scales = scale_of_each.index_select(1, order).contiguous();
  auto w = moving.accessor<double, 2>(), s = scales.accessor<double, 2>(), u = values.accessor<double, 2>();
  const auto column = order.accessor<int64_t, 1>();
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t j = 0; j < columns; ++j) {
      const double value = test::nearest_value(code, w[row][j] / s[row][j]).value;
      const double error = (w[row][j] - value * s[row][j]) / c[j][j];
      u[row][column[j]] = value;
      for (int64_t k = j; k < columns; ++k) w[row][k] -= error * c[j][k];
    }
  }
  return values;
}

at::Tensor damped(const at::Tensor& h, double lambda) {
  at::Tensor result = h + lambda * h.diagonal().mean() * at::eye(h.size(0), at::kDouble);
  result.diagonal().add_((h.diagonal() == 0).to(at::kDouble));
  return result;
}

void check_against_columns(const at::Tensor& w, const at::Tensor& h, double lambda, Tiling tiling, Code code,
                           ColumnOrder order) {
  CAPTURE(w.size(0), w.size(1), tiling.rows, tiling.cols, static_cast<int>(code), static_cast<int>(order));
  const FeedbackFactor factor = damped_factor(h, lambda, order);
  REQUIRE(factor.ok);
  const at::Tensor scale = test::absmax_scale(w, tiling, code);
  const at::Tensor each = test::expand_scale(scale, tiling, w);
  const at::Tensor sequence = factor.order.defined() ? factor.order : at::arange(w.size(1));
  const at::Tensor expected = column_by_column(w, damped(h, factor.lambda), sequence, code, each);
  const at::Tensor found = ldlq_round(w, factor, tiling, code, scale);
  CHECK(((found - expected) * each).abs().max().item<double>() < 1e-10);
  const at::Tensor columns = ldlq_round(w, factor, tiling, code, scale, nullptr, Recursion::kColumns);
  CHECK(((columns - expected) * each).abs().max().item<double>() < 1e-10);
}

TEST_CASE("ldlq: the cost it tells is that of its errors", "[linalg]") {
  const int64_t columns = GENERATE(1, 5, 128, 300, 1100);
  const auto order = GENERATE(ColumnOrder::kNatural, ColumnOrder::kActOrder);
  at::manual_seed(4);
  const at::Tensor x = at::randn({2 * columns + 3, columns}, at::kDouble), h = x.t().mm(x);
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    const at::Tensor w = at::randn({37, columns}, at::kDouble).to(type);
    const FeedbackFactor factor = damped_factor(h.to(type), 0.03, order);
    const Tiling tiling{.rows = 1, .cols = columns};
    const at::Tensor scale = w.abs().amax(1, true).div(127).to(at::kFloat);
    at::Tensor cost;
    const at::Tensor q = ldlq_round(w, factor, tiling, Code::kInt8, scale, &cost);
    CHECK(at::equal(q, ldlq_round(w, factor, tiling, Code::kInt8, scale)));
    const at::Tensor expected = objective_rows(q * scale.to(type) - w, factor);
    CHECK(at::allclose(cost, expected, type == at::kDouble ? 1e-6 : 1e-3));
  }
}

TEST_CASE("ldlq: blocks give what the column loop gives, for all widths and tilings", "[linalg]") {
  using Size = std::pair<int64_t, int64_t>;
  for (const auto& [rows, columns] :
       {Size{13, 1}, Size{13, 127}, Size{1, 128}, Size{13, 129}, Size{3, 300}}) {
    const at::Tensor w = test::normal({rows, columns}, 1);
    const at::Tensor h = test::second_moment(columns, 2 * columns, 2);
    for (const Tiling tiling : test::all_tilings(rows, columns)) {
      for (Code code : test::kAllCodes) {
        check_against_columns(w, h, 0.03, tiling, code, ColumnOrder::kNatural);
        check_against_columns(w, h, 0.03, tiling, code, ColumnOrder::kActOrder);
      }
    }
  }
}

TEST_CASE("ldlq: blocks give what the column loop gives, for more rows than a panel", "[linalg]") {
  const at::Tensor w = test::normal({300, 140}, 3), h = test::second_moment(140, 300, 4);
  check_against_columns(w, h, 0.03, {16, 16}, Code::kE4M3, ColumnOrder::kActOrder);
}

TEST_CASE("ldlq: dead columns, rank-deficient and ill-conditioned second moments", "[linalg]") {
  const at::Tensor w = test::normal({5, 200}, 5);
  at::Tensor dead = test::second_moment(200, 400, 6);
  for (int64_t j : {0, 3, 127, 128, 199}) dead.select(0, j).zero_(), dead.select(1, j).zero_();
  const at::Tensor few = test::second_moment(200, 20, 7);
  const at::Tensor wide = at::logspace(0, -5, 200, 10, at::kDouble);
  const at::Tensor ill = test::second_moment(200, 400, 8) * wide.outer(wide);
  for (ColumnOrder order : {ColumnOrder::kNatural, ColumnOrder::kActOrder}) {
    check_against_columns(w, dead, 0.03, {1, 200}, Code::kInt8, order);
    check_against_columns(w, few, 0.01, {1, 200}, Code::kInt8, order);
    check_against_columns(w, ill, 1e-6, {1, 32}, Code::kE4M3, order);
  }
}

TEST_CASE("ldlq: with H = I it is rounding to nearest", "[linalg]") {
  for (at::ScalarType type : {at::kFloat, at::kDouble}) {
    const at::Tensor w = test::normal({300, 200}, 9, type);
    const FeedbackFactor factor = damped_factor(at::eye(200, type), 0);
    for (Code code : test::kAllCodes) {
      const Tiling tiling{1, 32};
      const at::Tensor scale = test::absmax_scale(w, tiling, code);
      const at::Tensor plain = nearest(w / test::expand_scale(scale, tiling, w), code);
      CHECK(at::equal(ldlq_round(w, factor, tiling, code, scale), plain));
    }
  }
}

TEST_CASE("ldlq: float32 reaches the objective of float64, far below rounding to nearest", "[linalg]") {
  const at::Tensor w = test::normal({64, 300}, 10, at::kFloat).to(at::kDouble);
  const at::Tensor h = test::second_moment(300, 400, 11);
  const auto objective = [&](const at::Tensor& q) {
    return objective_rows(q - w, damped(h, 0.03)).sum().item<double>();
  };
  for (Code code : test::kAllCodes) {
    for (ColumnOrder order : {ColumnOrder::kNatural, ColumnOrder::kActOrder}) {
      const Tiling tiling{1, 300};
      const at::Tensor scale = test::absmax_scale(w, tiling, code),
                       each = test::expand_scale(scale, tiling, w);
      const FeedbackFactor single = damped_factor(h.to(at::kFloat), 0.03, order);
      const at::Tensor fast = ldlq_round(w.to(at::kFloat), single, tiling, code, scale);
      const at::Tensor exact = ldlq_round(w, damped_factor(h, 0.03, order), tiling, code, scale);
      CHECK(objective(fast.to(at::kDouble) * each) == Approx(objective(exact * each)).epsilon(1e-3));
      CHECK(objective(exact * each) < 0.7 * objective(nearest(w / each, code) * each));
    }
  }
}

TEST_CASE("ldlq: the objective is the pivots' sum over squared rounding errors", "[linalg]") {
  const at::Tensor w = test::normal({7, 150}, 12), h = test::second_moment(150, 300, 13);
  const FeedbackFactor factor = damped_factor(h, 0);
  const at::Tensor scale = test::absmax_scale(w, {1, 150}, Code::kInt8);
  const at::Tensor error = ldlq_round(w, factor, {1, 150}, Code::kInt8, scale) * scale - w;
  const at::Tensor rounding = at::matmul(error, factor.feedback);  // q_j - t_j
  CHECK((rounding.abs() <= scale / 2 * (1 + 1e-9)).to(at::kDouble).mean().item<double>() >
        0.98);  // others saturate
  CHECK(at::allclose(objective_rows(error, h), (rounding.square() * factor.pivots).sum(1), 1e-9));
  CHECK(at::allclose(objective_rows(error, h), objective_rows(error, factor), 1e-9));
}

TEST_CASE("ldlq: a tile with scale 0 gets zeros, and its weights' loss is made up for elsewhere",
          "[linalg]") {
  const at::Tensor h = test::second_moment(40, 80, 14);
  for (at::ScalarType type : {at::kFloat, at::kDouble}) {
    const at::Tensor w = test::normal({3, 40}, 15, type);
    at::Tensor scale = test::absmax_scale(w, {1, 8}, Code::kInt8);
    scale.select(1, 1).zero_();
    const at::Tensor values = ldlq_round(w, damped_factor(h.to(type), 0.03), {1, 8}, Code::kInt8, scale);
    CHECK(values.narrow(1, 8, 8).abs().max().item<double>() == 0);
    CHECK(values.isfinite().all().item<bool>());
  }
}

TEST_CASE("ldlq: same bits for any number of threads, inputs stay as they are", "[linalg]") {
  const at::Tensor w = test::normal({700, 500}, 16, at::kFloat), before = w.clone();
  const at::Tensor h = test::second_moment(500, 600, 17).to(at::kFloat);
  const at::Tensor scale = test::absmax_scale(w, {128, 128}, Code::kE4M3);
  for (ColumnOrder order : {ColumnOrder::kNatural, ColumnOrder::kActOrder}) {
    const FeedbackFactor factor = damped_factor(h, 0.03, order);
    const auto found = test::with_threads([&] {
      return ldlq_round(w, factor, {128, 128}, Code::kE4M3, scale);
    });
    for (const at::Tensor& values : found) CHECK(test::same_bits(values, found[0]));
  }
  CHECK(test::same_bits(w, before));
}

TEST_CASE("ldlq: no rows or no columns", "[linalg]") {
  const FeedbackFactor none = damped_factor(at::empty({0, 0}), 0.03), some = damped_factor(at::eye(4), 0.03);
  REQUIRE(none.ok);
  CHECK(ldlq_round(at::empty({3, 0}), none, {1, 1}, Code::kInt8, at::empty({3, 0})).sizes() ==
        at::IntArrayRef({3, 0}));
  CHECK(ldlq_round(at::empty({0, 4}), some, {1, 4}, Code::kInt8, at::empty({0, 1})).sizes() ==
        at::IntArrayRef({0, 4}));
}

std::vector<const char*> runnable_isas() {
  std::vector<const char*> isas;
  for (const char* isa : {"baseline", "avx2", "avx512"}) {
    if (cpu::find_kernels(isa) != nullptr) isas.push_back(isa);
  }
  return isas;
}

TEST_CASE("ldlq kernels: every value, midpoint and neighbour gets the nearest value, ties to even",
          "[linalg]") {
  for (Code code : test::kAllCodes) {
    const std::vector<float> u = test::values_that_matter(code);
    const at::Tensor tensor = at::tensor(u);
    std::vector<float> expected;
    for (float x : u) expected.push_back(static_cast<float>(test::nearest_value(code, x).value));
    CHECK(at::equal(nearest(tensor, code), at::tensor(expected)));
    CHECK(at::equal(nearest(tensor.to(at::kDouble), code), at::tensor(expected).to(at::kDouble)));
    for (const char* isa : runnable_isas()) {
      CAPTURE(isa, static_cast<int>(code));
      const auto rows = static_cast<int64_t>(u.size());
      const float one = 1, zero = 0;
      std::vector<float> error(u.size()), values(u.size());
      const RoundingBlock block{rows,
                                1,
                                {u.data(), 1, 1},
                                {&one, 0, 0},
                                {&zero, 0, 0},
                                {error.data(), 1, 1},
                                {values.data(), 1, 1}};
      cpu::find_ldlq_kernels(isa)->round(code, block, {u.data(), 1, 1});
      CHECK(values == expected);
    }
  }
}

TEST_CASE("ldlq kernels: same bits for all instruction sets, any number of rows and columns", "[linalg]") {
  for (int64_t rows : {1, 15, 16, 17, 40}) {
    for (int64_t columns : {1, 3, 64, 127, 128}) {
      const at::Tensor w = test::normal({rows, columns}, 18, at::kFloat),
                       g = test::normal({rows, columns}, 19, at::kFloat);
      const at::Tensor h = test::second_moment(columns, 200, 20).to(at::kFloat),
                       scale = w.abs().amax(1, true) / 100;
      for (Code code : test::kAllCodes) {
        std::vector<at::Tensor> results;
        for (const char* isa : runnable_isas()) {
          at::Tensor error = at::empty_like(w), values = at::empty_like(w);
          const auto view = [](const at::Tensor& x) {
            return View<const float>{x.const_data_ptr<float>(), x.stride(0), x.stride(1)};
          };
          const RoundingBlock block{rows,
                                    columns,
                                    view(w),
                                    {scale.const_data_ptr<float>(), 1, 0},
                                    view(h),
                                    {error.mutable_data_ptr<float>(), columns, 1},
                                    {values.mutable_data_ptr<float>(), columns, 1}};
          cpu::find_ldlq_kernels(isa)->round(code, block, view(w + g * 0.01));
          const at::Tensor before = error.clone();
          at::Tensor change = at::empty_like(w);
          cpu::find_ldlq_kernels(isa)->refine(code, block, view(g),
                                              {change.mutable_data_ptr<float>(), columns, 1});
          CHECK(at::equal(change, error - before));
          results.push_back(at::stack({error, values}));
          CAPTURE(isa, rows, columns);
          CHECK(test::same_bits(results[0], results.back()));
        }
      }
    }
  }
}

}  // namespace
}  // namespace ctq::linalg
