#include "metrics/histogram.h"

#include <cmath>
#include <limits>
#include <numeric>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <catch2/catch.hpp>

namespace ctq::metrics {
namespace {

using Counts = std::vector<int64_t>;

int64_t total(const Histogram& histogram) {
  return std::accumulate(histogram.counts.begin(), histogram.counts.end(), int64_t{0});
}

TEST_CASE("weight_histograms: small numbers by hand", "[metrics]") {
  const WeightHistograms found =
      weight_histograms(at::tensor({-2.0f, -1.0f, 0.0f, 1.9f}), at::tensor({-2.0f, -2.0f, 1.0f, 2.0f}), 4);
  CHECK(found.original.low == -2);
  CHECK(found.original.high == 2);
  CHECK(found.original.counts == Counts{1, 1, 1, 1});  // -1 and 0 are inner edges
  CHECK(found.decoded.low == -2);
  CHECK(found.decoded.high == 2);
  CHECK(found.decoded.counts == Counts{2, 0, 0, 2});  // 1 is an inner edge, 2 the outer one
  CHECK(found.error.low == -1);                       // errors 0, -1, 1, 0.1
  CHECK(found.error.high == 1);
  CHECK(found.error.counts == Counts{1, 0, 2, 1});
}

TEST_CASE("weight_histograms: the range is that of both tensors", "[metrics]") {
  const WeightHistograms found = weight_histograms(at::tensor({0.0f, 4.0f}), at::tensor({-1.0f, 3.0f}), 5);
  CHECK(found.original.low == -1);
  CHECK(found.original.high == 4);
  CHECK(found.original.counts == Counts{0, 1, 0, 0, 1});
  CHECK(found.decoded.counts == Counts{1, 0, 0, 0, 1});
}

TEST_CASE("weight_histograms: values that are all the same, and none at all", "[metrics]") {
  const WeightHistograms same = weight_histograms(at::full({70}, 3.0), at::full({70}, 3.0), 3);
  CHECK(same.original.low == 3);
  CHECK(same.original.high == 3);
  CHECK(same.original.counts == Counts{70, 0, 0});
  CHECK(same.error.counts == Counts{70, 0, 0});
  CHECK_FALSE(std::signbit(same.error.low));
  const WeightHistograms none = weight_histograms(at::empty({0, 4}), at::empty({0, 4}), 2);
  CHECK(none.original.counts == Counts{0, 0});
  CHECK(none.original.low == 0);
}

TEST_CASE("weight_histograms: values that are not finite are in no bin and leave the range alone",
          "[metrics]") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  at::Tensor decoded = at::linspace(-1, 1, 900);
  decoded[3] = std::nanf("");
  decoded[899] = kInfinity;
  decoded[17] = -kInfinity;
  const WeightHistograms found = weight_histograms(at::linspace(-1, 1, 900), decoded);
  CHECK(found.original.low == -1);
  CHECK(found.original.high == 1);
  CHECK(total(found.original) == 900);
  CHECK(total(found.decoded) == 897);
  CHECK(total(found.error) == 897);
}

TEST_CASE("weight_histograms: LibTorch counts the same, for all float types, strides and threads",
          "[metrics]") {
  at::manual_seed(7);
  const at::ScalarType dtype = GENERATE(at::kFloat, at::kHalf, at::kBFloat16, at::kDouble);
  const at::Tensor weight = (at::randn({301, 433}) * 0.02).to(dtype);
  const at::Tensor decoded = (weight.to(at::kFloat) * 50).round() / 50;
  at::set_num_threads(1);
  const WeightHistograms one = weight_histograms(weight, decoded);
  at::set_num_threads(2);
  CHECK(weight_histograms(weight, decoded) == one);
  CHECK(weight_histograms(weight.t().contiguous().t(), decoded) == one);
  at::set_num_threads(1);
  const at::Tensor expected =
      at::histc(weight.to(at::kFloat), kHistogramBins, one.original.low, one.original.high);
  REQUIRE(one.original.counts.size() == kHistogramBins);
  int64_t elsewhere = 0;  // values at an edge, where the last bit decides
  for (int64_t bin = 0; bin < kHistogramBins; ++bin)
    elsewhere += std::abs(one.original.counts[static_cast<size_t>(bin)] - expected[bin].item<int64_t>());
  CHECK(elsewhere < 40);
  CHECK(total(one.original) == 301 * 433);
  CHECK(total(one.decoded) == 301 * 433);
  CHECK(total(one.error) == 301 * 433);
}

}  // namespace
}  // namespace ctq::metrics
