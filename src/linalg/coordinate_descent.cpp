#include "linalg/coordinate_descent.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "linalg/panels.h"
#include "linalg/rounding_block.h"

namespace ctq::linalg {
namespace {

void sweep_rows(at::Tensor& values, at::Tensor& error, const at::Tensor& weight, const at::Tensor& h,
                const at::Tensor& scale, Code code) {
  const int64_t cols = weight.size(1);
  for (int64_t group = 0; group < cols; group += kGroupCols) {
    const int64_t group_end = std::min(group + kGroupCols, cols);
    // Afresh for every group rather than kept for all columns: the same work, and no rounding piles up.
    at::Tensor gradients = at::mm(error, h.narrow(1, group, group_end - group));
    for (int64_t begin = group; begin < group_end; begin += kBlockCols) {
      const int64_t width = std::min(kBlockCols, group_end - begin), rest = group_end - begin - width;
      const auto columns = [&](const at::Tensor& matrix) { return matrix.narrow(1, begin, width); };
      const at::Tensor before = columns(error).clone(), of_block = h.narrow(0, begin, width);
      at::Tensor gradient = gradients.narrow(1, begin - group, width);
      refine_block(
          {code, columns(weight), columns(scale), columns(of_block), columns(error), columns(values)},
          gradient);
      if (rest == 0) continue;
      gradients.narrow(1, begin - group + width, rest)
          .addmm_(columns(error) - before, of_block.narrow(1, begin + width, rest));
    }
  }
}

}  // namespace

at::Tensor coordinate_descent(const at::Tensor& values, const at::Tensor& weight, const at::Tensor& h,
                              Tiling tiling, Code code, const at::Tensor& scale, int64_t sweeps) {
  at::Tensor result = values.clone(at::MemoryFormat::Contiguous);
  const at::Tensor scales = scale.to(weight.scalar_type());
  const auto refine_panel = [&](int64_t row, int64_t rows) {
    const at::Tensor panel = weight.narrow(0, row, rows);
    const at::Tensor panel_scale = scale_of_rows(scales, tiling, row, rows, weight.size(1));
    at::Tensor out = result.narrow(0, row, rows), error = out * panel_scale - panel;
    for (int64_t i = 0; i < sweeps; ++i) sweep_rows(out, error, panel, h, panel_scale, code);
  };
  if (weight.is_cpu()) {
    for_panels(weight.size(0), refine_panel);
  } else if (weight.size(0) > 0) {
    refine_panel(0, weight.size(0));
  }
  return result;
}

}  // namespace ctq::linalg
