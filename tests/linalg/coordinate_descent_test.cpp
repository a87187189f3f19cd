#include "linalg/coordinate_descent.h"

#include <limits>

#include <catch2/catch.hpp>

#include "linalg/objective.h"

#include "linalg/golden.h"
#include "linalg/ldlq.h"
#include "linalg/nearest.h"
#include "linalg/reference.h"
#include "linalg/solver_inputs.h"

namespace ctq::linalg {
namespace {

at::Tensor objective(const at::Tensor& values, const at::Tensor& each_scale, const at::Tensor& w,
                     const at::Tensor& h) {
  return objective_rows(values.to(at::kDouble) * each_scale.to(at::kDouble) - w.to(at::kDouble), h);
}

TEST_CASE("objective_rows: e H e^T, small cases by hand", "[linalg]") {
  const at::Tensor h = at::tensor({2.0, 0.5, 0.5, 1.0}).view({2, 2});
  const at::Tensor e = at::tensor({1.0, 0.0, 0.0, -2.0, 1.0, -1.0}).view({3, 2});
  CHECK(at::equal(objective_rows(e, h), at::tensor({2.0, 4.0, 2.0}, at::kDouble)));
  CHECK(objective_rows(at::empty({0, 2}), h.to(at::kFloat)).size(0) == 0);
  const at::Tensor wide = test::normal({300, 1100}, 1, at::kFloat), moment = test::second_moment(1100, 30, 2);
  const at::Tensor exact = (at::matmul(wide.to(at::kDouble), moment) * wide.to(at::kDouble)).sum(1);
  CHECK(at::allclose(objective_rows(wide, moment), exact, 1e-12));
}

TEST_CASE("coordinate_descent: two correlated columns, from rounding to nearest to the optimum", "[linalg]") {
  const at::Tensor h = at::tensor({1.0, 0.9, 0.9, 1.0}).view({2, 2});
  for (at::ScalarType type : {at::kFloat, at::kDouble}) {
    const at::Tensor w = at::tensor({0.4, 0.4}, type).view({1, 2});
    const at::Tensor found =
        coordinate_descent(at::zeros_like(w), w, h.to(type), {1, 2}, Code::kInt8, at::ones({1, 1}), 1);
    CHECK(at::equal(found, at::tensor({1, 0}, type).view({1, 2})));  // 0.088, and (0, 0) would be 0.608
  }
}

TEST_CASE("coordinate_descent: finds what trying all codes finds", "[linalg]") {
  const at::Tensor h = at::tensor({1.0, 0.1, 0.05, 0.1, 1.0, 0.1, 0.05, 0.1, 1.0}, at::kDouble).view({3, 3});
  const at::Tensor w = test::normal({40, 3}, 3), one = at::ones({1, 1});
  const at::Tensor found = coordinate_descent(at::zeros_like(w), w, h, {40, 3}, Code::kInt8, one, 10);
  at::Tensor least = at::full({40}, std::numeric_limits<double>::infinity(), at::kDouble);
  for (int code = 0; code < 9 * 9 * 9; ++code) {
    const at::Tensor tried = at::tensor({code % 9 - 4, code / 9 % 9 - 4, code / 81 - 4}, at::kDouble);
    least = at::minimum(least, objective_rows(tried - w, h));
  }
  CHECK(at::allclose(objective_rows(found - w, h), least, 1e-12));
}

TEST_CASE("coordinate_descent: no row ever gets worse, from any start, tiling and code", "[linalg]") {
  const int64_t rows = 40, columns = 300;
  const at::Tensor moment = test::second_moment(columns, 350, 4);
  for (at::ScalarType type : {at::kFloat, at::kDouble}) {
    const at::Tensor w = test::normal({rows, columns}, 5, type), h = moment.to(type);
    for (const Tiling tiling : test::all_tilings(rows, columns)) {
      for (Code code : test::kAllCodes) {
        if (type == at::kDouble && code != Code::kE4M3) continue;
        CAPTURE(type, tiling.rows, tiling.cols, static_cast<int>(code));
        const at::Tensor scale = test::absmax_scale(w, tiling, code),
                         each = test::expand_scale(scale, tiling, w);
        const at::Tensor plain = nearest(w / each, code);
        const at::Tensor fed_back = ldlq_round(w, damped_factor(h, 0), tiling, code, scale);
        for (const at::Tensor& start : {plain, fed_back}) {
          at::Tensor before = objective(start, each, w, h);
          for (int64_t sweeps : {1, 2, 4}) {
            const at::Tensor values = coordinate_descent(start, w, h, tiling, code, scale, sweeps);
            const at::Tensor after = objective(values, each, w, h);
            CHECK((after <= before).all().item<bool>());
            before = after;
          }
          CHECK(before.sum().item<double>() < 0.99 * objective(start, each, w, h).sum().item<double>());
          CHECK(test::same_bits(coordinate_descent(start, w, h, tiling, code, scale, 0), start));
        }
      }
    }
  }
}

TEST_CASE("coordinate_descent: values stay on the grid", "[linalg]") {
  const at::Tensor w = test::normal({30, 140}, 6, at::kFloat),
                   h = test::second_moment(140, 100, 7).to(at::kFloat);
  for (Code code : test::kAllCodes) {
    const at::Tensor scale = test::absmax_scale(w, {1, 32}, code), start = nearest(at::zeros_like(w), code);
    const at::Tensor values = coordinate_descent(start, w, h, {1, 32}, code, scale, 2);
    CHECK(at::equal(values, nearest(values, code)));
    CHECK(values.min().item<float>() >= test::all_values(code).front().value);
    CHECK(values.max().item<float>() <= test::all_values(code).back().value);
  }
}

TEST_CASE("coordinate_descent: float32 follows float64", "[linalg]") {
  const at::Tensor w = test::normal({64, 300}, 8, at::kFloat).to(at::kDouble),
                   h = test::second_moment(300, 400, 9);
  const Tiling tiling{1, 300};
  for (Code code : test::kAllCodes) {
    const at::Tensor scale = test::absmax_scale(w, tiling, code), each = test::expand_scale(scale, tiling, w);
    const at::Tensor start = nearest(w / each, code);
    const at::Tensor exact = coordinate_descent(start, w, h, tiling, code, scale, 2);
    const at::Tensor fast =
        coordinate_descent(start.to(at::kFloat), w.to(at::kFloat), h.to(at::kFloat), tiling, code, scale, 2);
    CHECK(objective(fast, each, w, h).sum().item<double>() ==
          Approx(objective(exact, each, w, h).sum().item<double>()).epsilon(5e-3));
  }
}

TEST_CASE("coordinate_descent: dead columns and tiles with scale 0 stay", "[linalg]") {
  at::Tensor moment = test::second_moment(40, 80, 10);
  moment.select(0, 5).zero_(), moment.select(1, 5).zero_();
  for (at::ScalarType type : {at::kFloat, at::kDouble}) {
    const at::Tensor w = test::normal({20, 40}, 11, type);
    at::Tensor scale = test::absmax_scale(w, {1, 8}, Code::kInt8);
    scale.select(1, 2).zero_();
    const at::Tensor start = ldlq_round(w, damped_factor(moment.to(type), 0.03), {1, 8}, Code::kInt8, scale);
    const at::Tensor found = coordinate_descent(start, w, moment.to(type), {1, 8}, Code::kInt8, scale, 2);
    CHECK(at::equal(found.select(1, 5), start.select(1, 5)));
    CHECK(found.narrow(1, 16, 8).abs().max().item<double>() == 0);
    CHECK(found.isfinite().all().item<bool>());
  }
}

TEST_CASE("coordinate_descent: same bits for any number of threads, inputs stay as they are", "[linalg]") {
  const at::Tensor w = test::normal({700, 300}, 12, at::kFloat),
                   h = test::second_moment(300, 400, 13).to(at::kFloat);
  const at::Tensor scale = test::absmax_scale(w, {1, 300}, Code::kInt8);
  const at::Tensor start = nearest(w / scale, Code::kInt8), before = start.clone();
  const auto found = test::with_threads([&] {
    return coordinate_descent(start, w, h, {1, 300}, Code::kInt8, scale, 2);
  });
  const auto cost = test::with_threads([&] { return objective_rows(start * scale - w, h); });
  for (size_t i = 1; i < found.size(); ++i) {
    CHECK(test::same_bits(found[0], found[i]));
    CHECK(test::same_bits(cost[0], cost[i]));
  }
  CHECK(test::same_bits(start, before));
}

}  // namespace
}  // namespace ctq::linalg
