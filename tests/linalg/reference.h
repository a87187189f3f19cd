// Slow and obvious encoders, decoders and inputs that matter, to compare the kernels with.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "ctq/linalg/code.h"

namespace ctq::test {

/// Values of the codes 0, 1, 2, ... up to the largest finite one: increasing, exact in double.
inline std::vector<double> positive_values(linalg::Code code) {
  std::vector<double> values;
  if (code == linalg::Code::kInt8) {
    for (int q = 0; q <= 127; ++q) values.push_back(q);
    return values;
  }
  const int mantissa_bits = code == linalg::Code::kE4M3 ? 3 : 2, bias = code == linalg::Code::kE4M3 ? 7 : 15;
  const int last = code == linalg::Code::kE4M3 ? 0x7E : 0x7B;
  for (int c = 0; c <= last; ++c) {
    const int exponent = c >> mantissa_bits, mantissa = c & ((1 << mantissa_bits) - 1),
              one = 1 << mantissa_bits;
    values.push_back(exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                                   : std::ldexp(one + mantissa, exponent - bias - mantissa_bits));
  }
  return values;
}

/// Index of the nearest of positive_values() to |u|; of two equally near ones the even index.
inline size_t nearest_index(const std::vector<double>& values, double magnitude) {
  if (magnitude >= values.back()) return values.size() - 1;
  const auto above =
      static_cast<size_t>(std::upper_bound(values.begin(), values.end(), magnitude) - values.begin());
  const double to_below = magnitude - values[above - 1], to_above = values[above] - magnitude;
  if (to_below == to_above) return (above - 1) % 2 == 0 ? above - 1 : above;
  return to_below < to_above ? above - 1 : above;
}

inline uint8_t reference_code(linalg::Code code, float u) {
  static const std::vector<double> tables[] = {positive_values(linalg::Code::kInt8),
                                               positive_values(linalg::Code::kE4M3),
                                               positive_values(linalg::Code::kE5M2)};
  const size_t index = nearest_index(tables[static_cast<size_t>(code)], std::abs(static_cast<double>(u)));
  if (code == linalg::Code::kInt8) {
    return static_cast<uint8_t>(std::signbit(u) ? -static_cast<int>(index) : static_cast<int>(index));
  }
  return static_cast<uint8_t>(index | (std::signbit(u) ? 0x80 : 0));
}

/// All values of the grid, all midpoints between neighbours, the floats next to each of these, and what lies
/// beyond; both signs.
inline std::vector<float> values_that_matter(linalg::Code code) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> positive = {0.0f, std::numeric_limits<float>::denorm_min(),
                                 std::numeric_limits<float>::min(), std::numeric_limits<float>::max(),
                                 kInfinity};
  const auto with_neighbours = [&](double value) {
    const float x = static_cast<float>(value);
    positive.insert(positive.end(), {x, std::nextafter(x, 0.0f), std::nextafter(x, kInfinity)});
  };
  const std::vector<double> values = positive_values(code);
  for (size_t i = 0; i < values.size(); ++i) {
    with_neighbours(values[i]);
    if (i > 0) with_neighbours((values[i] + values[i - 1]) / 2);
  }
  const double last_step = values[values.size() - 1] - values[values.size() - 2];
  for (double beyond : {0.25, 0.5, 0.75, 1.0, 3.0}) with_neighbours(values.back() + beyond * last_step);
  std::vector<float> both = positive;
  for (float x : positive) both.push_back(-x);
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

inline constexpr linalg::Code kAllCodes[] = {linalg::Code::kInt8, linalg::Code::kE4M3, linalg::Code::kE5M2};

}  // namespace ctq::test
