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

/// The 16 levels of least squared error for normally distributed weights over the largest of 16 of them, as
/// comfy-kitchen 0.2.40 has them compiled in.
inline constexpr float kLevels16[16] = {
    -0.980602f, -0.794529f, -0.638165f, -0.500986f, -0.377321f, -0.263187f, -0.155210f, -0.050720f,
    0.052541f,  0.156985f,  0.265284f,  0.379533f,  0.502636f,  0.638953f,  0.794876f,  0.980671f};

}  // namespace ctq::linalg
