// Where the numbers of a calibration file come from.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace ctq::calibrate {

enum class Origin : uint8_t {
  kRecorded,  ///< inputs that a layer has read; also what a file does not say otherwise
  kLora,      ///< directions that a LoRA was trained to answer to
  kRandom,    ///< normal numbers, which say nothing of the model
};

/// As a file has them, in the order of the enum.
inline constexpr std::array<std::string_view, 3> kOriginNames{"recorded", "lora", "random"};

constexpr std::string_view origin_name(Origin origin) { return kOriginNames[static_cast<size_t>(origin)]; }

/// Of data that was made of both: the one that is worth less.
constexpr Origin worse(Origin a, Origin b) { return a > b ? a : b; }

}  // namespace ctq::calibrate
