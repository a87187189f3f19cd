#include "linalg/objective.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "linalg/panels.h"

namespace ctq::linalg {
namespace {

constexpr int64_t kCols = 1024;  // of H held in float64 at a time, or of U in a product

/// sum_i (e x_i)^2 + e D e^T
at::Tensor objective_of_samples(const at::Tensor& error, const Moment& h) {
  at::Tensor result = at::empty({error.size(0)}, error.options().dtype(at::kDouble));
  const auto set_panel = [&](int64_t row, int64_t rows) {
    const at::Tensor panel = error.narrow(0, row, rows);
    result.narrow(0, row, rows)
        .copy_(at::mm(panel, h.rows().t()).square_().sum(1, false, at::kDouble))
        .add_((panel * h.rest().product(panel, 0, h.size())).sum(1, false, at::kDouble));
  };
  for_panels(error.device(), error.size(0), set_panel);
  return result;
}

}  // namespace

at::Tensor objective_rows(const at::Tensor& error, const Moment& moment) {
  if (!moment.is_matrix()) return objective_of_samples(error, moment);
  const at::Tensor h = moment.matrix();
  const int64_t m = error.size(0), n = error.size(1);
  at::Tensor result = at::zeros({m}, error.options().dtype(at::kDouble));
  for (int64_t begin = 0; begin < n; begin += kCols) {
    const int64_t width = std::min(kCols, n - begin);
    const at::Tensor columns = h.narrow(1, begin, width).to(at::kDouble);
    const auto add_panel = [&](int64_t row, int64_t rows) {
      const at::Tensor panel = error.narrow(0, row, rows).to(at::kDouble);
      result.narrow(0, row, rows).add_(at::mm(panel, columns).mul_(panel.narrow(1, begin, width)).sum(1));
    };
    for_panels(error.device(), m, add_panel);
  }
  return result;
}

at::Tensor objective_rows(const at::Tensor& error, const FeedbackFactor& factor) {
  TORCH_INTERNAL_ASSERT(factor.ok);
  const int64_t m = error.size(0), n = error.size(1);
  at::Tensor result = at::zeros({m}, error.options().dtype(at::kDouble));
  const auto add_panel = [&](int64_t row, int64_t rows) {
    const at::Tensor panel = error.narrow(0, row, rows);
    const at::Tensor ordered = factor.order.defined() ? panel.index_select(1, factor.order) : panel;
    at::Tensor sum = result.narrow(0, row, rows);
    for (int64_t begin = 0; begin < n; begin += kCols) {
      const int64_t width = std::min(kCols, n - begin), end = begin + width;
      // U is upper triangular: columns up to `end` are all that reach here.
      const at::Tensor u = factor.feedback.narrow(0, 0, end).narrow(1, begin, width);
      const at::Tensor residual = at::mm(ordered.narrow(1, 0, end), u);
      sum.add_(residual.square_().mul_(factor.pivots.narrow(0, begin, width)).sum(1, false, at::kDouble));
    }
  };
  for_panels(error.device(), m, add_panel);
  return result;
}

}  // namespace ctq::linalg
