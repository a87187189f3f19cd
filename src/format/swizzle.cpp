#include "format/swizzle.h"

#include <ATen/ATen.h>

#include "base/round_up.h"
#include "packing.h"

namespace ctq::format {
namespace {

constexpr int64_t kTileRows = 128, kTileColumns = 4, kLanes = 32;

}  // namespace

int64_t swizzled_rows(int64_t rows) { return round_up(rows, kTileRows); }
int64_t swizzled_columns(int64_t columns) { return round_up(columns, kTileColumns); }

at::Tensor swizzle(const at::Tensor& grid) {
  const int64_t rows = swizzled_rows(grid.size(0)), columns = swizzled_columns(grid.size(1));
  return padded(grid, rows, columns)
      .view({rows / kTileRows, kTileRows / kLanes, kLanes, columns / kTileColumns, kTileColumns})
      .permute({0, 3, 2, 1, 4})
      .reshape({rows, columns});
}

at::Tensor unswizzle(const at::Tensor& swizzled, int64_t rows, int64_t columns) {
  const int64_t all_rows = swizzled.size(0), all_columns = swizzled.size(1);
  return swizzled
      .view({all_rows / kTileRows, all_columns / kTileColumns, kLanes, kTileRows / kLanes, kTileColumns})
      .permute({0, 3, 2, 1, 4})
      .reshape({all_rows, all_columns})
      .narrow(0, 0, rows)
      .narrow(1, 0, columns)
      .contiguous();
}

}  // namespace ctq::format
