// FP8: codes and scales as they are; a scale per tensor, row, square block, or run of columns.
#include <algorithm>
#include <cmath>

#include "formats.h"
#include "packing.h"
#include "scaling.h"

namespace ctq::format {
namespace {

using linalg::TileScale;

constexpr float kMaxE5M2 = 57344;

/// As kitchen computes it: the reciprocal is formed once. Where it does not exist (a zero weight, or one
/// below about 1.3e-36) every code is zero.
TileScale of_tensor(float amax, float max) {
  const float scale = amax / max, factor = 1.0f / scale;
  if (!std::isfinite(factor)) return {.decode = 1, .factor = 0};
  return {.decode = scale, .factor = factor};
}
TileScale tensor_e4m3(float amax, float) { return of_tensor(amax, kMaxE4M3); }
TileScale tensor_e5m2(float amax, float) { return of_tensor(amax, kMaxE5M2); }

/// Of a row or block: the factor comes first and its reciprocal is stored.
TileScale fine(float amax, float) {
  const float factor = kMaxE4M3 / std::max(amax, 1e-12f);  // the floor of the format's readers
  return {.decode = 1.0f / factor, .factor = factor};
}

constexpr Codec row(std::string_view format, Granularity granularity, ScaleShape shape, const Grid& (*grid)(),
                    linalg::ScaleRule rule) {
  return {.format = format,
          .type = "fp8",
          .granularity = granularity,
          .scale_shape = shape,
          .grid = grid,
          .divide = false,
          .absmax = rule,
          .packing = &kPlain};
}

}  // namespace

using enum Granularity;
using enum ScaleShape;

constinit const Codec kFloat8E4M3 = row("float8_e4m3fn", kTensor, kScalar, e4m3_grid, tensor_e4m3);
constinit const Codec kFloat8E5M2 = row("float8_e5m2", kTensor, kScalar, e5m2_grid, tensor_e5m2);
constinit const Codec kFloat8Rows = row("float8_e4m3fn_rowwise", kRow, kVector, e4m3_grid, fine);
constinit const Codec kFloat8Blocks = row("float8_e4m3fn_blockwise", kBlock, kGrid, e4m3_grid, fine);
constinit const Codec kFloat8Blocks3d = row("float8_e4m3fn_block3d", kBlock3d, kGrid3d, e4m3_grid, fine);

}  // namespace ctq::format
