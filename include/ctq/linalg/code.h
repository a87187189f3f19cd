// The one-byte codes that weights are stored as.
#pragma once

#include <cstdint>

namespace ctq::linalg {

/// What a code of one byte stands for before scaling (docs/formats/).
enum class Code : uint8_t {
  kInt8,  ///< -127..127, nearest, ties to even
  kE4M3,  ///< float8_e4m3fn, saturating at 448
  kE5M2,  ///< float8_e5m2, saturating at 57344
};

}  // namespace ctq::linalg
