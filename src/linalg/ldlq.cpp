#include "ctq/linalg/ldlq.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "ctq/linalg/panels.h"
#include "linalg/rounding_block.h"

namespace ctq::linalg {
namespace {

/// All columns of some rows, in the factor's order. Returns the values in that order.
at::Tensor round_rows(const at::Tensor& weight, const at::Tensor& feedback, const at::Tensor& scale,
                      Code code) {
  const int64_t cols = weight.size(1);
  at::Tensor error = at::empty_like(weight, at::MemoryFormat::Contiguous), values = at::empty_like(error);
  for (int64_t group = 0; group < cols; group += kGroupCols) {
    const int64_t group_end = std::min(group + kGroupCols, cols);
    at::Tensor targets = weight.narrow(1, group, group_end - group).clone();
    const auto correct = [&](int64_t begin, int64_t end, int64_t of,
                             int64_t count) {  // columns by [begin, end)'s errors
      if (begin == end) return;
      targets.narrow(1, of - group, count)
          .addmm_(error.narrow(1, begin, end - begin),
                  feedback.narrow(0, begin, end - begin).narrow(1, of, count),
                  /*beta=*/1, /*alpha=*/-1);
    };
    correct(0, group, group, group_end - group);
    for (int64_t begin = group; begin < group_end; begin += kBlockCols) {
      const int64_t width = std::min(kBlockCols, group_end - begin);
      const auto columns = [&](const at::Tensor& matrix) { return matrix.narrow(1, begin, width); };
      correct(group, begin, begin, width);
      at::Tensor target = targets.narrow(1, begin - group, width);
      round_block({code, columns(weight), columns(scale), columns(feedback).narrow(0, begin, width),
                   columns(error), columns(values)},
                  target);
    }
  }
  return values;
}

}  // namespace

at::Tensor ldlq_round(const at::Tensor& weight, const FeedbackFactor& factor, Tiling tiling, Code code,
                      const at::Tensor& scale) {
  TORCH_INTERNAL_ASSERT(factor.ok);
  at::Tensor result = at::empty_like(weight, at::MemoryFormat::Contiguous);
  const at::Tensor scales = scale.to(weight.scalar_type());
  const auto round_panel = [&](int64_t row, int64_t rows) {
    const at::Tensor panel = weight.narrow(0, row, rows), &order = factor.order;
    const at::Tensor panel_scale = scale_of_rows(scales, tiling, row, rows, weight.size(1), order);
    const at::Tensor ordered = order.defined() ? panel.index_select(1, order) : panel;
    const at::Tensor values = round_rows(ordered, factor.feedback, panel_scale, code);
    at::Tensor out = result.narrow(0, row, rows);
    order.defined() ? out.index_copy_(1, order, values) : out.copy_(values);
  };
  if (weight.is_cpu()) {
    for_panels(weight.size(0), round_panel);
  } else if (weight.size(0) > 0) {
    round_panel(0, weight.size(0));
  }
  return result;
}

}  // namespace ctq::linalg
