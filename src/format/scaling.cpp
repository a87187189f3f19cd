#include "scaling.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <c10/util/Float8_e4m3fn.h>

namespace ctq::format {
namespace {

using linalg::TileScale;

constexpr float kMaxInt8 = 127;
constexpr float kMaxE2M1 = 6;

TileScale fp8_tensor(float amax, float max) {
  const float scale = amax / max, factor = 1.0f / scale;
  if (!std::isfinite(factor)) return {.decode = 1, .factor = 0};
  return {.decode = scale, .factor = factor};
}

TileScale same(float scale) { return {.decode = scale, .factor = scale}; }

}  // namespace

TileScale fp8_tensor_e4m3(float amax, float) { return fp8_tensor(amax, kMaxE4M3); }
TileScale fp8_tensor_e5m2(float amax, float) { return fp8_tensor(amax, kMaxE5M2); }

TileScale fp8_fine(float amax, float) {
  const float factor = kMaxE4M3 / std::max(amax, 1e-12f);  // the floor of the format's readers
  return {.decode = 1.0f / factor, .factor = factor};
}

TileScale int8(float amax, float) { return same(std::max(amax / kMaxInt8, 1e-30f)); }
TileScale int8_quip(float amax, float) { return same(std::max(amax / kMaxInt8, 1e-12f)); }
TileScale int8_block(float amax, float) { return same(std::max(amax / kMaxInt8, 1e-8f)); }

TileScale int4(float amax, float) { return same(std::max(amax, 1e-10f) / 7); }

float nvfp4_outer_scale(float whole) {
  const float scale = whole / (kMaxE2M1 * kMaxE4M3);
  return scale < std::numeric_limits<float>::min() ? 1.0f : scale;
}

TileScale nvfp4(float amax, float whole) {
  const float outer = nvfp4_outer_scale(whole);
  const float inner = std::min(amax / kMaxE2M1 / outer, kMaxE4M3);
  return same(outer * static_cast<float>(c10::Float8_e4m3fn(inner)));
}

TileScale mxfp8(float amax, float) {
  constexpr uint32_t kMantissa = 0x7FFFFF, kExponentBits = 23;
  const float ratio = amax / kMaxE4M3;
  if (ratio <= 0x1p-127f) return {.decode = 0, .factor = 0};
  const auto bits = std::bit_cast<uint32_t>(ratio);
  const auto exponent = static_cast<int>((bits >> kExponentBits) + ((bits & kMantissa) != 0 ? 1 : 0)) - 127;
  return {.decode = std::ldexp(1.0f, exponent), .factor = std::ldexp(1.0f, -exponent)};
}

}  // namespace ctq::format
