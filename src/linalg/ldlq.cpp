#include "linalg/ldlq.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "linalg/bf16.h"
#include "linalg/panels.h"
#include "linalg/rounding_block.h"
#include "linalg/sample_space.h"

namespace ctq::linalg {
namespace {

/// All columns of some rows, in the factor's order. Returns the values in that order. cost: [rows] or
/// undefined.
at::Tensor round_rows(const at::Tensor& weight, const FeedbackFactor& factor, const at::Tensor& scale,
                      Code code, at::Tensor cost, Recursion recursion) {
  const at::Tensor& feedback = factor.feedback;
  const int64_t cols = weight.size(1);
  at::Tensor error = at::empty_like(weight, at::MemoryFormat::Contiguous), values = at::empty_like(error);
  const bool blocks = recursion == Recursion::kBlocks;
  const int64_t group_cols = blocks ? kGroupCols : cols, block_cols = blocks ? kBlockCols : 1;
  for (int64_t group = 0; group < cols; group += group_cols) {
    const int64_t group_end = std::min(group + group_cols, cols);
    at::Tensor targets = weight.narrow(1, group, group_end - group).clone();
    const auto correct = [&](int64_t begin, int64_t end, int64_t of,
                             int64_t count) {  // columns by [begin, end)'s errors
      if (begin == end) return;
      const at::Tensor errors = error.narrow(1, begin, end - begin);
      const at::Tensor pull = feedback.narrow(0, begin, end - begin).narrow(1, of, count);
      at::Tensor corrected = targets.narrow(1, of - group, count);
      if (product_uses_bf16(errors, pull))
        corrected.sub_(bf16_product(errors, pull));
      else
        corrected.addmm_(errors, pull, /*beta=*/1, /*alpha=*/-1);
    };
    correct(0, group, group, group_end - group);
    for (int64_t begin = group; begin < group_end; begin += block_cols) {
      const int64_t width = std::min(block_cols, group_end - begin);
      const auto columns = [&](const at::Tensor& matrix) { return matrix.narrow(1, begin, width); };
      correct(group, begin, begin, width);
      at::Tensor target = targets.narrow(1, begin - group, width);
      const at::Tensor within = columns(feedback).narrow(0, begin, width);
      const BlockCosts costs{cost.defined() ? factor.pivots.narrow(0, begin, width) : at::Tensor(), cost};
      round_block({code, columns(weight), columns(scale), within, columns(error), columns(values)}, target,
                  costs);
    }
  }
  return values;
}

/// The same, run by run. mapped: E X^T [rows, r], zeros at first; without the last run's errors unless `all`
at::Tensor round_rows(const at::Tensor& weight, const SampleFactor& factor, const at::Tensor& scale,
                      Code code, const at::Tensor& cost, Recursion recursion, at::Tensor mapped, bool all) {
  at::Tensor values = at::empty_like(weight, at::MemoryFormat::Contiguous);
  for (const SampleFactor::Run& run : factor.runs) {
    const auto columns = [&](const at::Tensor& matrix) { return matrix.narrow(1, run.begin, run.width); };
    const at::Tensor target = at::addmm(columns(weight), mapped, run.pull, /*beta=*/1, /*alpha=*/-1);
    columns(values).copy_(round_rows(target, run.factor, columns(scale), code, cost, recursion));
    if (run.begin + run.width == weight.size(1) && !all) break;
    const at::Tensor error = at::addcmul(-columns(weight), columns(values), columns(scale));
    mapped.addmm_(error, columns(factor.rows).t());
  }
  return values;
}

/// In panels; round(row, panel of weight and scale in the factor's order, cost) gives the values of one.
template <typename Factor, typename Round>
at::Tensor round_panels(const at::Tensor& weight, const Factor& factor, Tiling tiling,
                        const at::Tensor& scale, at::Tensor* cost, const Round& round) {
  TORCH_INTERNAL_ASSERT(factor.ok);
  if (cost) *cost = at::zeros({weight.size(0)}, weight.options().dtype(at::kDouble));
  at::Tensor result = at::empty_like(weight, at::MemoryFormat::Contiguous);
  const at::Tensor scales = scale.to(weight.scalar_type());
  const auto round_panel = [&](int64_t row, int64_t rows) {
    const at::Tensor panel = weight.narrow(0, row, rows), &order = factor.order;
    const at::Tensor panel_scale = scale_of_rows(scales, tiling, row, rows, weight.size(1), order);
    const at::Tensor ordered = order.defined() ? panel.index_select(1, order) : panel;
    const at::Tensor values =
        round(row, ordered, panel_scale, cost ? cost->narrow(0, row, rows) : at::Tensor());
    at::Tensor out = result.narrow(0, row, rows);
    order.defined() ? out.index_copy_(1, order, values) : out.copy_(values);
  };
  for_panels(weight.device(), weight.size(0), round_panel);
  return result;
}

}  // namespace

at::Tensor ldlq_round(const at::Tensor& weight, const FeedbackFactor& factor, Tiling tiling, Code code,
                      const at::Tensor& scale, at::Tensor* cost, Recursion recursion) {
  return round_panels(
      weight, factor, tiling, scale, cost,
      [&](int64_t, const at::Tensor& panel, const at::Tensor& of_panel, const at::Tensor& panel_cost) {
        return round_rows(panel, factor, of_panel, code, panel_cost, recursion);
      });
}

at::Tensor ldlq_round(const at::Tensor& weight, const SampleFactor& factor, Tiling tiling, Code code,
                      const at::Tensor& scale, at::Tensor* cost, Recursion recursion, at::Tensor* mapped) {
  const int64_t samples = factor.rows.size(0);
  if (mapped) *mapped = at::zeros({weight.size(0), samples}, weight.options());
  return round_panels(
      weight, factor, tiling, scale, cost,
      [&](int64_t row, const at::Tensor& panel, const at::Tensor& of_panel, const at::Tensor& panel_cost) {
        at::Tensor r = mapped ? mapped->narrow(0, row, panel.size(0))
                              : at::zeros({panel.size(0), samples}, weight.options());
        return round_rows(panel, factor, of_panel, code, panel_cost, recursion, r,
                          /*all=*/mapped != nullptr);
      });
}

}  // namespace ctq::linalg
