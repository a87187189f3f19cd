#include "linalg/sample_space.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

#include "linalg/panels.h"

namespace ctq::linalg {
namespace {

/// L^-1 x and L^-T x for a lower triangular L, panels of columns of x in parallel.
at::Tensor solve_lower(const at::Tensor& lower, const at::Tensor& x, bool transposed) {
  const auto solved = [&](const at::Tensor& columns) {
    return at::linalg_solve_triangular(transposed ? lower.t() : lower, columns, /*upper=*/transposed);
  };
  if (!x.is_cpu()) return solved(x);
  at::Tensor result = at::empty_like(x, at::MemoryFormat::Contiguous);
  for_panels(x.size(1), [&](int64_t begin, int64_t width) {
    result.narrow(1, begin, width).copy_(solved(x.narrow(1, begin, width)));
  });
  return result;
}

/// The lower Cholesky factor; undefined where there is none.
at::Tensor lower_factor(const at::Tensor& a) {
  const auto factor = [&] {
    const auto [lower, info] = at::linalg_cholesky_ex(a, /*upper=*/false, /*check_errors=*/false);
    return info.item<int>() == 0 && lower.diagonal().isfinite().all().item<bool>() ? lower : at::Tensor();
  };
  if (!a.is_cpu()) return factor();
  const OneBlasThread one;
  return factor();
}

/// P += X D^-1 X^T
void add_run(at::Tensor& p, const at::Tensor& rows, const at::Tensor& rest) {
  p.add_(product(rows / rest, rows.t()));
}

class Runs {
 public:
  Runs(at::Tensor rows, at::Tensor rest) : rows_(std::move(rows)), rest_(std::move(rest)) {}

  /// Whether all could be factored.
  bool factor() {
    const int64_t columns = rest_.size(0), samples = rows_.size(0);
    at::Tensor p = at::eye(samples, rest_.options());
    for (int64_t end = columns; end > 0;) {
      const int64_t begin = (end - 1) / kSampleRun * kSampleRun, width = end - begin;
      const at::Tensor x = rows_.narrow(1, begin, width), rest = rest_.narrow(0, begin, width);
      at::Tensor half = x, whole = x;  // of no later columns: P = I
      if (end < columns) {
        const at::Tensor lower = lower_factor(p);
        if (!lower.defined()) return false;
        half = solve_lower(lower, x, /*transposed=*/false);
        whole = solve_lower(lower, half, /*transposed=*/true);
      }
      const at::Tensor cost = Moment(rest, half).matrix();
      SampleFactor::Run run{
          .begin = begin, .width = width, .factor = damped_factor(cost, /*lambda=*/0), .pull = {}};
      if (!run.factor.ok || run.factor.lambda > 0) return false;
      run.pull = solve(run.factor, whole);
      runs_.insert(runs_.begin(), std::move(run));
      if (begin > 0) add_run(p, x, rest);
      end = begin;
    }
    return true;
  }
  std::vector<SampleFactor::Run> take() { return std::move(runs_); }

 private:
  at::Tensor rows_, rest_;
  std::vector<SampleFactor::Run> runs_;
};

}  // namespace

SampleFactor sample_factor(const Moment& h, double lambda, ColumnOrder order) {
  SampleFactor factor;
  const at::Tensor diagonal = h.diagonal();
  const double mean = mean_of(diagonal);
  if (order == ColumnOrder::kActOrder) factor.order = columns_by(diagonal);
  const auto ordered = [&](const at::Tensor& of, int64_t dim) {
    return factor.order.defined() ? of.index_select(dim, factor.order) : of;
  };
  factor.rows = ordered(h.rows(), 1);
  const at::Tensor rest = ordered(h.rest() + (diagonal == 0).to(diagonal.scalar_type()), 0);
  DampingLadder damping(lambda);
  do {
    Runs runs(factor.rows, rest + mean * damping.lambda());
    factor.lambda = damping.lambda();
    factor.ok = runs.factor();
    if (factor.ok) factor.runs = runs.take();
  } while (!factor.ok && damping.climb());
  return factor;
}

}  // namespace ctq::linalg
