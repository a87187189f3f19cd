// Slow and obvious encoders, decoders and inputs that matter, to compare the kernels with.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "linalg/code.h"

namespace ctq::test {

/// A value of a grid and its code.
struct Value {
  double value;
  uint8_t code;
};

inline std::vector<Value> integers(int first, int last) {
  std::vector<Value> values;
  for (int q = first; q <= last; ++q) values.push_back({static_cast<double>(q), static_cast<uint8_t>(q)});
  return values;
}

/// Codes 0 .. last, and with the sign bit their negatives.
inline std::vector<Value> floats(int mantissa_bits, int bias, int last, uint8_t sign) {
  std::vector<Value> values;
  const int one = 1 << mantissa_bits;
  for (int c = -last; c <= last; ++c) {
    const int exponent = std::abs(c) >> mantissa_bits, mantissa = std::abs(c) & (one - 1);
    const double magnitude = exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                                           : std::ldexp(one + mantissa, exponent - bias - mantissa_bits);
    values.push_back({c < 0 ? -magnitude : magnitude, static_cast<uint8_t>(c < 0 ? -c | sign : c)});
  }
  return values;
}

/// All values of a grid: increasing, exact in double; 0 once, with its positive code.
inline const std::vector<Value>& all_values(linalg::Code code) {
  static const std::vector<Value> int8 = integers(-127, 127), int4 = integers(-7, 7),
                                  nibble = integers(-8, 7), e4m3 = floats(3, 7, 0x7E, 0x80),
                                  e5m2 = floats(2, 15, 0x7B, 0x80), e2m1 = floats(1, 1, 7, 8), level16 = [] {
                                    std::vector<Value> values;
                                    for (uint8_t c = 0; c < 16; ++c)
                                      values.push_back({linalg::kLevels16[c], c});
                                    return values;
                                  }();
  switch (code) {
    case linalg::Code::kInt8: return int8;
    case linalg::Code::kE4M3: return e4m3;
    case linalg::Code::kE5M2: return e5m2;
    case linalg::Code::kE2M1: return e2m1;
    case linalg::Code::kInt4: return int4;
    case linalg::Code::kNibble: return nibble;
    case linalg::Code::kLevel16: return level16;
  }
  return int8;
}

inline uint8_t sign_bit(linalg::Code code) {
  if (code == linalg::Code::kE2M1) return 8;
  return code == linalg::Code::kE4M3 || code == linalg::Code::kE5M2 ? 0x80 : 0;
}

/// Of two equally near values that with the even code; of levels, whose midpoints are float32 numbers, the
/// lower.
inline const Value& nearest_value(linalg::Code code, double u) {
  const std::vector<Value>& values = all_values(code);
  if (u <= values.front().value) return values.front();
  if (u >= values.back().value) return values.back();
  const auto above =
      std::upper_bound(values.begin(), values.end(), u, [](double x, const Value& v) { return x < v.value; });
  const Value &high = *above, &low = *(above - 1);
  if (code == linalg::Code::kLevel16)
    return u > (static_cast<float>(low.value) + static_cast<float>(high.value)) / 2 ? high : low;
  const double to_low = u - low.value, to_high = high.value - u;
  if (to_low == to_high) return low.code % 2 == 0 ? low : high;
  return to_low < to_high ? low : high;
}

inline uint8_t reference_code(linalg::Code code, float u) {
  const Value& found = nearest_value(code, static_cast<double>(u));
  return found.value == 0 && std::signbit(u) ? static_cast<uint8_t>(found.code | sign_bit(code)) : found.code;
}

/// All values of the grid, all midpoints between neighbours, the floats next to each of these, and what lies
/// beyond; both signs.
inline std::vector<float> values_that_matter(linalg::Code code) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> found = {0.0f, std::numeric_limits<float>::denorm_min(),
                              std::numeric_limits<float>::min(), std::numeric_limits<float>::max(),
                              kInfinity};
  const auto with_neighbours = [&](double value) {
    const float x = static_cast<float>(value);
    found.insert(found.end(), {x, std::nextafter(x, -kInfinity), std::nextafter(x, kInfinity)});
  };
  const std::vector<Value>& values = all_values(code);
  for (size_t i = 0; i < values.size(); ++i) {
    with_neighbours(values[i].value);
    if (i > 0) with_neighbours((values[i].value + values[i - 1].value) / 2);
  }
  const double last_step = values[values.size() - 1].value - values[values.size() - 2].value;
  for (double beyond : {0.25, 0.5, 0.75, 1.0, 3.0}) with_neighbours(values.back().value + beyond * last_step);
  std::vector<float> both = found;
  for (float x : found) both.push_back(-x);
  return both;
}

/// Exact float32 value of a float16 bit pattern.
inline float float16_value(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  float magnitude;
  if (exponent == 31) {
    magnitude =
        mantissa == 0 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
  } else {
    magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                              : std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
  }
  return bits & 0x8000 ? -magnitude : magnitude;
}

inline float bfloat16_value(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

inline constexpr linalg::Code kAllCodes[] = {
    linalg::Code::kInt8, linalg::Code::kE4M3,   linalg::Code::kE5M2,   linalg::Code::kE2M1,
    linalg::Code::kInt4, linalg::Code::kNibble, linalg::Code::kLevel16};

}  // namespace ctq::test
