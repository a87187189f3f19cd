#include "format/log_scale.h"

#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <catch2/catch.hpp>

#include "base/error.h"

namespace ctq::format {
namespace {

TEST_CASE("log scale: every code comes back, and no scale is below what it stands for", "[format]") {
  const double step = std::pow(10.0, 12.0 / 255);
  for (int code = 0; code < 256; ++code) {
    const float value = log_scale_value(static_cast<uint8_t>(code));
    CHECK(value == Approx(std::pow(10.0, 12.0 * code / 255 - 10)).epsilon(1e-6));
    CHECK(log_scale_code(value) == code);
    if (code == 255) continue;
    CHECK(log_scale_code(std::nextafter(value, 1000.0f)) == code + 1);
    const auto between = static_cast<float>(value * std::pow(step, 0.3));
    const float stored = log_scale_value(log_scale_code(between));
    CHECK(stored >= between);
    CHECK(stored < between * step);
  }
}

TEST_CASE("log scale: zero and what one byte cannot hold are errors", "[format]") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float scale : {0.0f, -1.0f, 9e-11f, 101.0f, nan, std::numeric_limits<float>::infinity()}) {
    CAPTURE(scale);
    CHECK_THROWS_AS(log_scale_code(scale), Error);
  }
}

TEST_CASE("log scale: weights are rounded with the scale that is stored", "[format]") {
  at::manual_seed(3);
  const at::Tensor weight = at::randn({40, 30}) * GENERATE(1e-6, 0.02, 1.0, 500.0);
  const Encoded encoded = *encode_nearest(log_scale_codec(), weight, 0);
  const std::vector<at::Tensor> stored = pack(encoded);
  REQUIRE(stored.size() == 2);
  CHECK(stored[1].scalar_type() == at::kByte);
  const Encoded read = unpack(log_scale_codec(), 0, 0, stored, 40, 30);
  CHECK(at::equal(decode(read), decode(encoded)));
  CHECK((decode(read) - weight).abs().max().item<float>() <= 0.0625f * weight.abs().max().item<float>());
  CHECK((decode(read) - weight).norm().item<float>() < 0.035f * weight.norm().item<float>());
  const float exact = weight.abs().max().item<float>() / 448, scale = encoded.scales.item<float>();
  CHECK(scale >= exact);
  CHECK(scale < exact * 1.1145f);
}

TEST_CASE("log scale: a zero weight is code 0 and zeros, a huge one is refused", "[format]") {
  const std::vector<at::Tensor> zero = pack(*encode_nearest(log_scale_codec(), at::zeros({4, 4}), 0));
  CHECK(zero[0].to(at::kFloat).abs().max().item<float>() == 0);
  CHECK(zero[1].item<uint8_t>() == 0);
  const Encoded huge = *encode_nearest(log_scale_codec(), at::full({4, 4}, 5e4), 0);
  CHECK_THROWS_AS(pack(huge), Error);
}

}  // namespace
}  // namespace ctq::format
