#include "pipeline/sampled_error.h"

#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <catch2/catch.hpp>

namespace ctq::pipeline {
namespace {

/// A weight whose rows differ in size.
at::Tensor weight_of(int64_t rows, int64_t columns) {
  at::manual_seed(11);
  return at::randn({rows, columns}) * (1 + at::rand({rows, 1}));
}

double relative(const metrics::Squares& squares) { return std::sqrt(squares.error / squares.weight); }

metrics::Squares all_squares(const at::Tensor& weight, const format::Encoded& encoded) {
  metrics::WeightErrorSum sum;
  sum.add(weight, format::decode(encoded));
  return sum.squares();
}

}  // namespace

TEST_CASE("sampled_squares: some rows tell the error of all, in every format", "[pipeline]") {
  const at::Tensor weight = weight_of(1024, 256);
  for (const format::Codec& codec : format::registry()) {
    CAPTURE(codec.label());
    const int64_t block = codec.has_blocks() ? 64 : 0;
    const auto encoded = format::encode_nearest(codec, weight, block);
    REQUIRE(encoded);
    const metrics::Squares sampled = sampled_squares({&weight, 1}, {&*encoded, 1}, {});
    const metrics::Squares all = all_squares(weight, *encoded);
    CHECK(sampled.weight == Approx(all.weight).epsilon(0.15));
    CHECK(relative(sampled) == Approx(relative(all)).epsilon(0.05));
  }
}

TEST_CASE("sampled_squares: small weights, ragged blocks, banks and factors", "[pipeline]") {
  const format::Codec& row = *format::find_codec("int8_tensorwise", format::Granularity::kRow);
  for (const int64_t rows : {1, 3, 15, 16, 17, 33}) {
    const at::Tensor weight = weight_of(rows, 64);
    const auto encoded = format::encode_nearest(row, weight, 0);
    const metrics::Squares sampled = sampled_squares({&weight, 1}, {&*encoded, 1}, {});
    CHECK(sampled.weight > 0);
    if (rows == 1) CHECK(sampled.weight == Approx(all_squares(weight, *encoded).weight));
  }
  const std::vector<at::Tensor> experts = {weight_of(64, 64), 100 * weight_of(64, 64)};
  std::vector<format::Encoded> bank;
  for (const at::Tensor& expert : experts) bank.push_back(*format::encode_nearest(row, expert, 0));
  const metrics::Squares both = sampled_squares(experts, bank, {});
  const metrics::Squares second = sampled_squares({&experts[1], 1}, {&bank[1], 1}, {});
  CHECK(both.weight > second.weight);
  CHECK(second.weight == Approx(10000 * (both.weight - second.weight)).epsilon(1e-3));

  const metrics::Squares with = sampled_squares({&experts[0], 1}, {&bank[0], 1}, at::full({64}, 3.0f));
  const metrics::Squares without = sampled_squares({&experts[0], 1}, {&bank[0], 1}, {});
  CHECK(with.weight == Approx(9 * without.weight).epsilon(1e-5));
  CHECK(with.error == Approx(9 * without.error).epsilon(1e-3));
}

}  // namespace ctq::pipeline
