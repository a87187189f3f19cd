// What the scale rules of formats share: from the largest magnitude of what shares a scale to the scale.
#pragma once

#include "linalg/tiles.h"

namespace ctq::format {

inline constexpr float kMaxE4M3 = 448;
inline constexpr float kMaxInt8 = 127;

/// Codes come from w / scale.
inline linalg::TileScale same(float scale) { return {.decode = scale, .factor = scale}; }

}  // namespace ctq::format
