// INT8: codes and scales as they are; a scale per tensor, row or square block.
#include <algorithm>

#include "formats.h"
#include "packing.h"
#include "scaling.h"

namespace ctq::format {
namespace {

/// amax / 127, at least kitchen's floor.
linalg::TileScale absmax(float amax, float) { return same(std::max(amax / kMaxInt8, 1e-30f)); }
/// The same with QuantOps' floor.
linalg::TileScale of_block(float amax, float) { return same(std::max(amax / kMaxInt8, 1e-8f)); }

constexpr Codec row(std::string_view format, Granularity granularity, ScaleShape shape,
                    linalg::ScaleRule rule, Rotation rotation = Rotation::kNever) {
  return {.format = format,
          .type = "int8",
          .granularity = granularity,
          .scale_shape = shape,
          .grid = int8_grid,
          .divide = true,
          .absmax = rule,
          .packing = &kPlain,
          .rotation = rotation};
}

}  // namespace

using enum Granularity;
using enum ScaleShape;

constinit const Codec kInt8Tensor = row("int8_tensorwise", kTensor, kScalar, absmax);
constinit const Codec kInt8Rows = row("int8_tensorwise", kRow, kColumn, absmax, Rotation::kOptional);
constinit const Codec kInt8Axis = row("int8_axiswise", kRow, kVector, absmax);
constinit const Codec kInt8Blocks = row("int8_blockwise", kBlock, kGrid, of_block);

}  // namespace ctq::format
