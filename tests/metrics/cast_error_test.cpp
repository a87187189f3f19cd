#include "metrics/cast_error.h"

#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <catch2/catch.hpp>

using namespace ctq::metrics;

namespace {

/// The same figures by LibTorch's own cast, in float64.
CastStatistics by_libtorch(const at::Tensor& values) {
  const at::Tensor all = values.to(at::kFloat).to(at::kDouble).flatten();
  const at::Tensor finite = all.masked_select(all.isfinite());
  const at::Tensor cast = finite.clamp(-448, 448).to(at::kFloat).to(at::kFloat8_e4m3fn).to(at::kDouble);
  CastStatistics found;
  found.numel = values.numel();
  found.non_finite = all.numel() - finite.numel();
  found.beyond = finite.abs().gt(448).sum().item<int64_t>();
  found.max_abs = finite.abs().max().item<double>();
  found.sum = finite.sum().item<double>();
  found.sum_squares = finite.square().sum().item<double>();
  found.sum_error_squares = (cast - finite).square().sum().item<double>();
  return found;
}

void check_same(const CastStatistics& a, const CastStatistics& b) {
  CHECK(a.numel == b.numel);
  CHECK(a.non_finite == b.non_finite);
  CHECK(a.beyond == b.beyond);
  CHECK(a.max_abs == b.max_abs);
  CHECK(a.sum == Approx(b.sum).epsilon(1e-10).margin(1e-6));
  CHECK(a.sum_squares == Approx(b.sum_squares).epsilon(1e-12));
  CHECK(a.sum_error_squares == Approx(b.sum_error_squares).epsilon(1e-12));
}

}  // namespace

TEST_CASE("cast statistics: the cast is LibTorch's, for every value of 16 bits", "[metrics]") {
  const at::ScalarType type = GENERATE(at::kHalf, at::kBFloat16);
  CAPTURE(type);
  const at::Tensor all = at::arange(-32768, 32768, at::kInt).to(at::kShort).view(type);
  const at::Tensor small = all.masked_select(all.to(at::kFloat).abs().le(1e4));  // or NaN hides in sums
  check_same(cast_statistics(small), by_libtorch(small));
  CHECK(cast_statistics(all).non_finite == by_libtorch(all).non_finite);
  CHECK(cast_statistics(all).beyond == by_libtorch(all).beyond);
  // Value by value: a sum could hide two faults.
  const at::Tensor floats = small.to(at::kFloat);
  for (int64_t at = 0; at < small.numel(); at += 7) {
    const at::Tensor one = floats.narrow(0, at, 1);
    const double expected = by_libtorch(one).sum_error_squares;
    if (cast_statistics(one).sum_error_squares != expected) FAIL("value " << one.item<float>());
    if (cast_statistics(small.narrow(0, at, 1)).sum_error_squares != expected)
      FAIL("16-bit value " << one.item<float>());
  }
}

TEST_CASE("cast statistics: random weights of every type, with what is beyond and not finite", "[metrics]") {
  const at::ScalarType type = GENERATE(at::kHalf, at::kBFloat16, at::kFloat, at::kDouble);
  CAPTURE(type);
  at::manual_seed(5);
  at::Tensor values = at::randn({37, 29}) * 0.03;
  values[3][4] = 900.0f, values[5][6] = -449.0f, values[7][8] = 448.0f;
  values[9][1] = std::numeric_limits<float>::quiet_NaN(),
  values[36][28] = -std::numeric_limits<float>::infinity();
  values = values.to(type);
  const CastStatistics found = cast_statistics(values);
  check_same(found, by_libtorch(values));
  CHECK(found.non_finite == 2);
  CHECK(found.beyond == (type == at::kBFloat16 ? 1 : 2));  // -449 is -448 there
  // Parts add up to the whole.
  CastStatistics sum = cast_statistics(values.narrow(0, 0, 11));
  sum += cast_statistics(values.narrow(0, 11, 26));
  check_same(sum, found);
}

TEST_CASE("cast statistics: norm, deviation and relative error", "[metrics]") {
  const CastStatistics found = cast_statistics(at::tensor({3.0f, -4.0f, 500.0f}));
  CHECK(found.norm() == Approx(std::sqrt(250025.0)));
  CHECK(found.deviation() == Approx(at::tensor({3.0, -4.0, 500.0}, at::kDouble).std().item<double>()));
  CHECK(found.relative_error() == Approx(52 / std::sqrt(250025.0)));
  CHECK(cast_statistics(at::zeros({4, 4})).relative_error() == 0);
  CHECK(cast_statistics(at::zeros({0, 4})).deviation() == 0);
}
