#include "metrics/error.h"

#include <cmath>
#include <limits>

#include <catch2/catch.hpp>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "metrics/error_sum.h"

namespace ctq::metrics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

bool identical(const WeightError& a, const WeightError& b) {
  return a.numel == b.numel && a.mse == b.mse && a.max_error == b.max_error && a.sqnr_db == b.sqnr_db &&
         a.weight_rel == b.weight_rel && a.variance_db == b.variance_db && a.non_finite == b.non_finite &&
         a.to_zero == b.to_zero && a.rows_to_zero == b.rows_to_zero;
}

TEST_CASE("weight_error: small numbers by hand", "[metrics]") {
  const WeightError error = weight_error(at::tensor({3.0f, -4.0f}), at::tensor({3.5f, -4.0f}));
  CHECK(error.numel == 2);
  CHECK(error.mse == 0.125);
  CHECK(error.max_error == 0.5);
  CHECK(error.weight_rel == Approx(0.1));
  CHECK(error.sqnr_db == Approx(20));
  CHECK(error.variance_db ==
        Approx(10 * std::log10(24.5 / 0.125)));  // var{3, -4} = 24.5, var{0.5, 0} = 0.125
  CHECK(error.non_finite == 0);
}

TEST_CASE("weight_error: counts values and rows that became zeros", "[metrics]") {
  const at::Tensor weight = at::randn({70, 1000}) + 10;
  weight.narrow(0, 5, 1).zero_();  // is zero as it should be
  weight.narrow(0, 6, 1).narrow(1, 0, 900).zero_();
  at::Tensor decoded = weight.clone();
  CHECK(weight_error(weight, decoded).to_zero == 0);
  decoded.narrow(0, 6, 3).zero_();
  decoded.narrow(0, 20, 1).narrow(1, 0, 999).zero_();
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const WeightError error = weight_error(weight.to(type), decoded.to(type));
    CHECK(error.to_zero == 100 + 2000 + 999);
    CHECK(error.rows_to_zero == 3);
  }
  CHECK(weight_error(weight.view({70, 10, 100}), decoded.view({70, 10, 100})).rows_to_zero == 0);
}

TEST_CASE("weight_error: an exact copy has no error and infinite ratios", "[metrics]") {
  for (const at::Tensor& weight : {at::randn({33, 7}), at::zeros({4, 4}), at::empty({0, 4})}) {
    const WeightError error = weight_error(weight, weight);
    CHECK(error.mse == 0);
    CHECK(error.max_error == 0);
    CHECK(error.weight_rel == 0);
    CHECK(error.sqnr_db == kInfinity);
    CHECK(error.variance_db == kInfinity);
  }
}

TEST_CASE("weight_error: a zero weight with an error has an infinite relative error", "[metrics]") {
  const WeightError error = weight_error(at::zeros({4}), at::tensor({0.0f, 1.0f, 0.0f, 0.0f}));
  CHECK(error.weight_rel == kInfinity);
  CHECK(error.sqnr_db == -kInfinity);
}

TEST_CASE("weight_error: variance_db does not see a constant offset, sqnr_db does", "[metrics]") {
  const at::Tensor weight = at::randint(-50, 50, {300, 500}).to(at::kFloat);
  const WeightError error = weight_error(weight, weight + 2);
  CHECK(error.variance_db == kInfinity);
  CHECK(error.mse == 4);
  CHECK(error.sqnr_db < 40);
}

TEST_CASE("weight_error: agrees with float64 over several chunks and for all float types", "[metrics]") {
  at::manual_seed(5);
  for (at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble}) {
    const at::Tensor weight = (at::randn({301, 433}, at::kDouble) * 0.02 + 0.001).to(dtype);
    const at::Tensor decoded = (weight.to(at::kFloat) * 50).round() / 50;
    const at::Tensor w = weight.to(at::kDouble), e = decoded.to(at::kDouble) - w;
    const WeightError error = weight_error(weight, decoded);
    CHECK(error.mse == Approx(e.square().mean().item<double>()).epsilon(1e-12));
    CHECK(error.max_error == e.abs().max().item<double>());
    CHECK(error.weight_rel == Approx((e.norm() / w.norm()).item<double>()).epsilon(1e-12));
    CHECK(error.sqnr_db == Approx(-20 * std::log10(error.weight_rel)).epsilon(1e-12));
    CHECK(error.variance_db == Approx(10 * std::log10((w.var() / e.var()).item<double>())).epsilon(1e-10));
  }
}

TEST_CASE("WeightErrorSum: parts together have the error of the whole", "[metrics]") {
  at::manual_seed(6);
  const at::Tensor weight = at::randn({3, 40, 50}) * at::tensor({1.0f, 100.0f, 0.0f}).view({3, 1, 1}) + 0.5;
  const at::Tensor decoded = weight + 0.01 * at::randn({3, 40, 50});
  WeightErrorSum sum;
  for (int64_t i = 0; i < 3; ++i) sum.add(weight[i], decoded[i]);
  const WeightError parts = sum.error(), whole = weight_error(weight, decoded);
  CHECK(parts.numel == whole.numel);
  CHECK(parts.mse == Approx(whole.mse));
  CHECK(parts.max_error == whole.max_error);
  CHECK(parts.weight_rel == Approx(whole.weight_rel));
  CHECK(parts.sqnr_db == Approx(whole.sqnr_db));
  CHECK(parts.variance_db == Approx(whole.variance_db));
  CHECK(parts.non_finite == 0);

  sum.add(at::ones({2}), at::tensor({1.0f, std::numeric_limits<float>::infinity()}));
  CHECK(sum.error().non_finite == 1);
  CHECK(std::isnan(sum.error().mse));
  CHECK(identical(WeightErrorSum().error(), weight_error(at::empty({0}), at::empty({0}))));
}

TEST_CASE("weight_error: decoded values that are not finite are counted", "[metrics]") {
  at::Tensor decoded = at::zeros({70});
  decoded[3] = std::numeric_limits<float>::quiet_NaN();
  decoded[69] = -std::numeric_limits<float>::infinity();
  const WeightError error = weight_error(at::ones({70}), decoded);
  CHECK(error.non_finite == 2);
  CHECK(std::isnan(error.mse));
  CHECK(std::isnan(error.sqnr_db));
  CHECK(std::isnan(error.max_error));
}

TEST_CASE("weight_error: does not depend on the number of threads or on strides", "[metrics]") {
  at::manual_seed(6);
  const at::Tensor weight = at::randn({600, 700}), decoded = weight + at::randn({600, 700}) * 0.01;
  at::set_num_threads(1);
  const WeightError one = weight_error(weight, decoded);
  at::set_num_threads(2);
  const WeightError two = weight_error(weight, decoded);
  const WeightError strided = weight_error(weight.t().contiguous().t(), decoded);
  at::set_num_threads(1);
  CHECK(identical(one, two));
  CHECK(identical(one, strided));
}

}  // namespace
}  // namespace ctq::metrics
