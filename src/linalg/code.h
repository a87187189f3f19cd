// The codes that weights are stored as.
#pragma once

#include <cstdint>

namespace ctq::linalg {

/// What a code stands for before scaling (docs/formats/). In memory every code has a byte of its own, also
/// those of which two share one in a file. Nearest value, ties to the even code, saturating, where nothing
/// else is said.
enum class Code : uint8_t {
  kInt8,     ///< int8: -127..127
  kE4M3,     ///< float8_e4m3fn, up to 448
  kE5M2,     ///< float8_e5m2, up to 57344
  kE2M1,     ///< uint8 0..15: 0, 0.5, 1, 1.5, 2, 3, 4, 6; with bit 3 the negatives
  kInt4,     ///< int8: -7..7
  kNibble,   ///< int8: -8..7
  kLevel16,  ///< uint8 0..15: the levels of kLevels16; of two equally near ones the lower
};

/// How the values of a grid lie.
enum class Spacing : uint8_t {
  kInteger,  ///< all whole numbers between the least and the largest
  kFloat,    ///< binary floating point
  kLevels,   ///< as listed
};

/// What there is to know of a code's grid, for kernels of every device and for ATen.
struct CodeRow {
  const char* name;
  Spacing spacing;
  int bits;  ///< that a code takes in a file
  float min, max;
  int mantissa_bits = 0;  ///< of kFloat: stored ones, and normal numbers from 2^min_exponent on
  int min_exponent = 0;
};

/// The 16 levels of least squared error for normally distributed weights over the largest of 16 of them, as
/// comfy-kitchen 0.2.40 has them compiled in.
inline constexpr float kLevels16[16] = {
    -0.980602f, -0.794529f, -0.638165f, -0.500986f, -0.377321f, -0.263187f, -0.155210f, -0.050720f,
    0.052541f,  0.156985f,  0.265284f,  0.379533f,  0.502636f,  0.638953f,  0.794876f,  0.980671f};

constexpr CodeRow code_row(Code code) {
  switch (code) {
    case Code::kInt8: return {"int8", Spacing::kInteger, 8, -127, 127};
    case Code::kE4M3: return {"e4m3", Spacing::kFloat, 8, -448, 448, 3, -6};
    case Code::kE5M2: return {"e5m2", Spacing::kFloat, 8, -57344, 57344, 2, -14};
    case Code::kE2M1: return {"e2m1", Spacing::kFloat, 4, -6, 6, 1, 0};
    case Code::kInt4: return {"int4", Spacing::kInteger, 4, -7, 7};
    case Code::kNibble: return {"nibble", Spacing::kInteger, 4, -8, 7};
    case Code::kLevel16: return {"level16", Spacing::kLevels, 4, kLevels16[0], kLevels16[15]};
  }
  return {};
}

}  // namespace ctq::linalg
