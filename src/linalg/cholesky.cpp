#include "linalg/cholesky.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <ATen/ATen.h>

#include "linalg/bf16.h"
#include "linalg/panels.h"

namespace ctq::linalg {
namespace {

constexpr double kStrongestLambda = 1;
constexpr double kFirstLambda = 0.01;  // after none: the default of GPTQ
constexpr int64_t kBlock = 512;

/// R, upper triangular, with R R^T = A for a symmetric A: the Cholesky factor of A with rows and columns
/// reversed, reversed back. status: []
at::Tensor reversed_cholesky(const at::Tensor& a, at::Tensor* status) {
  const auto [factor, info] = at::linalg_cholesky_ex(a.flip({0, 1}), /*upper=*/false, /*check_errors=*/false);
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  *status = at::where(info == 0, factor.diagonal().sum(), kNaN);
  return factor.flip({0, 1});
}

/// The same in place, in blocks of columns from the last to the first. Reads and writes the upper triangle;
/// blocks below the diagonal are left as they are. Returns the status.
at::Tensor factor_blocks(at::Tensor& a) {
  const int64_t n = a.size(0);
  for (int64_t end = n; end > 0;) {
    const int64_t begin = (end - 1) / kBlock * kBlock, width = end - begin;
    at::Tensor columns = a.narrow(1, begin, width);
    if (end < n) {
      const at::Tensor done = a.narrow(1, end, n - end), done_here = done.narrow(0, begin, width).t();
      for_panels(end, [&](int64_t row, int64_t rows) {
        columns.narrow(0, row, rows).addmm_(done.narrow(0, row, rows), done_here, /*beta=*/1, /*alpha=*/-1);
      });
    }
    at::Tensor corner, status;
    for_each_on_one_thread(1, [&](int64_t) {
      corner = reversed_cholesky(columns.narrow(0, begin, width), &status);
      columns.narrow(0, begin, width).copy_(corner);
    });
    if (!is_factored(status)) return status;
    const at::Tensor lower = corner.t();
    for_panels(begin, [&](int64_t row, int64_t rows) {
      at::Tensor panel = columns.narrow(0, row, rows);
      panel.copy_(at::linalg_solve_triangular(lower, panel, /*upper=*/false, /*left=*/false));
    });
    end = begin;
  }
  return at::zeros({}, a.options());
}

/// U and D of what was damped and ordered; a: changed
void factor_into(FeedbackFactor& factor, at::Tensor a, at::Tensor* status) {
  if (a.is_cpu())
    *status = factor_blocks(a);
  else
    a = reversed_cholesky(a, status);
  const at::Tensor roots = a.diagonal().clone();
  factor.pivots = roots.square();
  // cuSOLVER's columns lie together; rounding reads rows.
  factor.feedback = a.div_(roots).triu_().contiguous();
}

/// H + shift I in the factor's order, dead columns with a one.
at::Tensor damp(const at::Tensor& h, double shift, const FeedbackFactor& factor) {
  at::Tensor damped = at::empty_like(h, at::MemoryFormat::Contiguous), dead = factor.dead;
  if (factor.order.defined()) {
    dead = dead.index_select(0, factor.order);
    for (int64_t row = 0; row < h.size(0); row += kBlock) {
      const int64_t rows = std::min(kBlock, h.size(0) - row);
      damped.narrow(0, row, rows)
          .copy_(h.index_select(0, factor.order.narrow(0, row, rows)).index_select(1, factor.order));
    }
  } else {
    damped.copy_(h);
  }
  damped.diagonal().add_(dead.to(h.scalar_type())).add_(shift);
  return damped;
}

}  // namespace

double mean_of(const at::Tensor& values) {
  const at::Tensor on_cpu = values.to(at::kCPU, at::kDouble).contiguous();
  const auto* const data = on_cpu.const_data_ptr<double>();
  return std::accumulate(data, data + on_cpu.numel(), 0.0) /
         static_cast<double>(std::max<int64_t>(1, on_cpu.numel()));
}

bool DampingLadder::climb() {
  if (lambda_ >= kStrongestLambda) return false;
  lambda_ = lambda_ > 0 ? std::min(10 * lambda_, kStrongestLambda) : kFirstLambda;
  return true;
}

at::Tensor columns_by(const at::Tensor& diagonal) {
  return diagonal.argsort(/*stable=*/true, /*dim=*/0, /*descending=*/true);
}

at::Tensor gram(const at::Tensor& x) {
  if (!x.is_cpu()) {
    const bool bf16 = uses_bf16(Bf16Operation::kHessian, static_cast<double>(x.numel()), x);
    return bf16 ? bf16_product(x.t(), x) : at::mm(x.t(), x);
  }
  const int64_t n = x.size(1);
  at::Tensor result = at::empty({n, n}, x.options());
  for_panels(n, [&](int64_t begin, int64_t rows) {
    at::Tensor band = result.narrow(0, begin, rows).narrow(1, begin, n - begin);
    at::mm_out(band, x.narrow(1, begin, rows).t(), x.narrow(1, begin, n - begin));
  });
  mirror_upper(result);
  return result;
}

at::Tensor gram_by_rows(const at::Tensor& x, int64_t rows_at_once) {
  at::Tensor sum;
  for (int64_t row = 0; row < x.size(0); row += rows_at_once) {
    const at::Tensor part = gram(x.narrow(0, row, std::min(rows_at_once, x.size(0) - row)).to(at::kFloat));
    sum = sum.defined() ? sum.add_(part) : part;
  }
  return sum.defined() ? sum : at::zeros({x.size(1), x.size(1)}, x.options().dtype(at::kFloat));
}

FeedbackFactor damped_factor(const at::Tensor& h, double lambda, ColumnOrder order) {
  FeedbackFactor factor;
  const at::Tensor diagonal = h.diagonal();
  const double mean = mean_of(diagonal);
  factor.dead = diagonal == 0;
  if (order == ColumnOrder::kActOrder) factor.order = columns_by(diagonal);
  DampingLadder damping(lambda);
  do {
    ++factor.attempts;
    factor.lambda = damping.lambda();
    at::Tensor status;
    factor_into(factor, damp(h, factor.lambda * mean, factor), &status);
    factor.ok = is_factored(status);
  } while (!factor.ok && damping.climb());
  return factor;
}

FeedbackFactor undamped_factor(const at::Tensor& h, at::Tensor* status) {
  FeedbackFactor factor;
  factor.ok = true;
  factor.attempts = 1;
  factor_into(factor, h.clone(at::MemoryFormat::Contiguous), status);
  return factor;
}

bool is_factored(at::TensorList statuses) { return std::isfinite(at::stack(statuses).sum().item<double>()); }

at::Tensor solve(const FeedbackFactor& factor, const at::Tensor& x) {
  TORCH_INTERNAL_ASSERT(factor.ok);
  at::Tensor result = at::empty_like(x, at::MemoryFormat::Contiguous);
  const auto solve_panel = [&](int64_t row, int64_t rows) {
    const at::Tensor panel = x.narrow(0, row, rows), &order = factor.order;
    const at::Tensor ordered = order.defined() ? panel.index_select(1, order) : panel;
    const at::Tensor half =
        at::linalg_solve_triangular(factor.feedback.t(), ordered, /*upper=*/false, /*left=*/false,
                                    /*unitriangular=*/true);
    const at::Tensor whole =
        at::linalg_solve_triangular(factor.feedback, half / factor.pivots, /*upper=*/true,
                                    /*left=*/false, /*unitriangular=*/true);
    at::Tensor out = result.narrow(0, row, rows);
    order.defined() ? out.index_copy_(1, order, whole) : out.copy_(whole);
  };
  for_panels(x.device(), x.size(0), solve_panel);
  return result;
}

}  // namespace ctq::linalg
