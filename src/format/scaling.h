// From the largest magnitude of what shares a scale to the scale: one rule per family of formats.
#pragma once

#include "ctq/linalg/tiles.h"

namespace ctq::format {

inline constexpr float kMaxE4M3 = 448;
inline constexpr float kMaxE5M2 = 57344;

/// FP8 with one scale per tensor, as kitchen computes it: the reciprocal is formed once. Where it does not
/// exist (a zero weight, or one below about 1.3e-36) every code is zero.
linalg::TileScale fp8_tensor_e4m3(float amax, float);
linalg::TileScale fp8_tensor_e5m2(float amax, float);
/// FP8 with a scale per row or block: the factor comes first and its reciprocal is stored.
linalg::TileScale fp8_fine(float amax, float);

/// FP8 with a one-byte scale (log_scale.h): the least one with which nothing saturates. Beyond the largest
/// the exact one.
linalg::TileScale fp8_log_scale(float amax, float);

/// amax / 127, at least 1e-30: kitchen's floor.
linalg::TileScale int8(float amax, float);
/// The same with QuantOps' floor, 1e-8.
linalg::TileScale int8_block(float amax, float);

/// The same with Wan-INT8's floor, 1e-12.
linalg::TileScale int8_quip(float amax, float);

/// max(amax, 1e-10) / 7: kitchen's floor.
linalg::TileScale int4(float amax, float);

/// The scale of a whole weight, by which its groups' scales are E4M3 numbers: the largest product of a code
/// and such a number, 6 * 448, is its largest magnitude. 1 for a zero weight, and for one so small that
/// float32 cannot hold this.
float nvfp4_outer_scale(float whole);
/// amax / 6 as an E4M3 multiple of that. 0 for what is too small.
linalg::TileScale nvfp4(float amax, float whole);

/// The least power of two with which no value of the group saturates. 0 for a group of zeros, and for amax so
/// small that it would be 2^-127, which the reference decoder takes for 0.
linalg::TileScale mxfp8(float amax, float);

}  // namespace ctq::format
