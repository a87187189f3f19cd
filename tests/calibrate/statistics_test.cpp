#include "calibrate/statistics.h"

#include <limits>
#include <set>

#include <ATen/ATen.h>
#include <catch2/catch.hpp>

#include "linalg/device.h"

namespace ctq::calibrate {

TEST_CASE("statistics: of rows that are written out", "[calibrate]") {
  const at::Tensor rows = at::tensor({1.0, -4.0, 3.0, 2.0, -5.0, 0.0}).reshape({3, 2});
  const InputStatistics known = measure(rows.to(GENERATE(at::kFloat, at::kBFloat16, at::kDouble)), 100);
  CHECK(at::allclose(known.mean, at::tensor({-1.0f / 3, -2.0f / 3})));
  CHECK(at::equal(known.channel_max, at::tensor({5.0f, 4.0f})));
  CHECK(at::equal(known.channel_mean, at::tensor({3.0f, 2.0f})));
  CHECK(known.input_scale == 5.0 / 127);
  CHECK(known.count == 3);
}

TEST_CASE("statistics: the percentile is the smallest magnitude that so many do not exceed", "[calibrate]") {
  const at::Tensor shuffled = (at::arange(1, 1001).mul(617).remainder(1009)).to(at::kFloat);
  const at::Tensor sorted = std::get<0>(shuffled.sort());
  const at::Tensor signs = at::arange(1000).remainder(2).mul(2).sub(1);
  const at::Tensor x = (shuffled * signs).reshape({50, 20});
  for (const auto& [percentile, rank] :
       {std::pair{100.0, 1000}, {99.9, 999}, {99.91, 1000}, {50.0, 500}, {0.1, 1}, {0.0001, 1}}) {
    CAPTURE(percentile);
    CHECK(magnitude_percentile(x, percentile) == sorted[rank - 1].item<double>());
  }
  // Magnitudes that differ in their last bits only.
  const at::Tensor close = at::tensor({1.0f, 1.0000001f, 1.0000002f, -1.0000004f});
  CHECK(magnitude_percentile(close, 75) == static_cast<double>(1.0000002f));
  CHECK(magnitude_percentile(at::zeros({3, 3}), 99.9) == 0);
}

TEST_CASE("statistics: more elements than are looked at once", "[calibrate]") {
  at::Tensor x = at::ones({3, 3'000'000});
  x[2][2'999'999] = -7;
  const InputStatistics known = measure(x, 100);
  CHECK(known.input_scale == 7.0 / 127);
  CHECK(known.channel_max[2'999'999].item<float>() == 7);
  CHECK(magnitude_percentile(x, 99.9) == 1);
}

TEST_CASE("statistics: H of rows in one piece and in several", "[calibrate]") {
  const int64_t count = GENERATE(1, 100, 9000);
  at::manual_seed(3);
  const at::Tensor rows = at::randn({count, 24});
  const at::Tensor h = second_moment(rows);
  const at::Tensor exact = rows.to(at::kDouble);
  CHECK(at::allclose(h.to(at::kDouble), exact.t().mm(exact) / static_cast<double>(count), 1e-5, 1e-6));
  CHECK(at::equal(h, h.t()));
}

TEST_CASE("statistics: rows that hold no numbers go, others stay as they are", "[calibrate]") {
  at::Tensor rows = at::arange(12).reshape({4, 3}).to(at::kBFloat16);
  CHECK(finite_rows(rows).is_same(rows));
  rows[1][2] = std::numeric_limits<float>::quiet_NaN();
  rows[3][0] = -std::numeric_limits<float>::infinity();
  CHECK(at::equal(finite_rows(rows), rows.index_select(0, at::tensor({0, 2}))));
  CHECK(finite_rows(rows).scalar_type() == at::kBFloat16);
}

TEST_CASE("statistics: rows are chosen once each, evenly and repeatably", "[calibrate]") {
  const at::Tensor rows = at::arange(1000).reshape({1000, 1}).to(at::kFloat);
  const at::Tensor chosen = choose_rows(rows, 100, 7);
  REQUIRE(chosen.sizes() == at::IntArrayRef{100, 1});
  CHECK(std::get<0>(at::_unique(chosen)).numel() == 100);
  CHECK(at::equal(chosen, choose_rows(rows, 100, 7)));
  CHECK_FALSE(at::equal(chosen, choose_rows(rows, 100, 8)));
  // Mean 500, standard deviation of the mean 27; and in the first half as well.
  CHECK(std::abs(chosen.mean().item<double>() - 500) < 110);
  CHECK(std::abs(chosen.narrow(0, 0, 50).mean().item<double>() - 500) < 160);
  CHECK(choose_rows(rows, 1000, 7).is_same(rows));
}

}  // namespace ctq::calibrate
