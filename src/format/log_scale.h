// One-byte logarithmic scales (docs/formats/fp8_log_scale.md).
#pragma once

#include <cstdint>
#include <string_view>

#include "format/codec.h"

namespace ctq::format {

/// What code 0 and code 255 stand for, as powers of ten.
inline constexpr double kLogScaleMin = -10, kLogScaleMax = 2;

/// The header's entry that declares them.
inline constexpr std::string_view kLogScaleKey = "ctq.scale8";
inline constexpr std::string_view kLogScaleText =
    R"({"log10_min": -10, "log10_max": 2, "meaning": "dequant"})";

/// 10^(code / 255 (log10_max - log10_min) + log10_min), steps of a factor 1.114.
float log_scale_value(uint8_t code, double log10_min = kLogScaleMin, double log10_max = kLogScaleMax);

/// The least code whose value is not below the scale: a weight that is rounded with that value never
/// saturates.
/// throws  Error(kFailure) for 0, NaN and whatever lies outside 1e-10 .. 100
uint8_t log_scale_code(float scale);

/// float8_e4m3fn with one such decode scale for the weight. In no list of targets: no known loader reads it.
const Codec& log_scale_codec();

}  // namespace ctq::format
