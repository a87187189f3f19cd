#include "linalg/sample_space.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "linalg/panels.h"

namespace ctq::linalg {
namespace {

/// The lower Cholesky factor; undefined where there is none.
at::Tensor lower_factor(const at::Tensor& a) {
  const auto [lower, info] = at::linalg_cholesky_ex(a, /*upper=*/false, /*check_errors=*/false);
  return info.item<int>() == 0 && lower.diagonal().isfinite().all().item<bool>() ? lower : at::Tensor();
}

/// Sets what a run has besides its place. later: P of the columns after it; undefined where there are none.
/// False where something is not positive definite.
bool factor_run(SampleFactor::Run& run, const at::Tensor& x, const at::Tensor& rest,
                const at::Tensor& later) {
  at::Tensor half = x, whole = x;
  if (later.defined()) {
    const at::Tensor lower = lower_factor(later);
    if (!lower.defined()) return false;
    half = at::linalg_solve_triangular(lower, x, /*upper=*/false);
    whole = at::linalg_solve_triangular(lower.t(), half, /*upper=*/true);
  }
  run.factor = damped_factor(Moment(rest, half).matrix(), /*lambda=*/0);
  if (!run.factor.ok || run.factor.lambda > 0) return false;
  run.pull = solve(run.factor, whole);
  return true;
}

/// Nothing where one of them cannot be factored. Some runs at a time, of which each needs a P of its own.
std::optional<std::vector<SampleFactor::Run>> factored_runs(const at::Tensor& rows, const at::Tensor& rest) {
  const int64_t columns = rest.size(0), count = (columns + kSampleRun - 1) / kSampleRun;
  std::vector<SampleFactor::Run> runs(static_cast<size_t>(count));
  at::Tensor p;
  for (int64_t end = count; end > 0;) {
    const int64_t begin = std::max<int64_t>(0, end - at::get_num_threads());
    std::vector<at::Tensor> later;  // from the last run to the first
    for (int64_t i = end - 1; i >= begin; --i) {
      SampleFactor::Run& run = runs[static_cast<size_t>(i)];
      run.begin = i * kSampleRun, run.width = std::min(kSampleRun, columns - run.begin);
      later.push_back(p);
      const at::Tensor x = rows.narrow(1, run.begin, run.width);
      const at::Tensor before = p.defined() ? p : at::eye(rows.size(0), rest.options());
      if (i > 0) p = before + product(x / rest.narrow(0, run.begin, run.width), x.t());
    }
    std::atomic<bool> ok = true;
    for_each_part(rest.device(), end - begin, [&](int64_t i) {
      SampleFactor::Run& run = runs[static_cast<size_t>(end - 1 - i)];
      if (!factor_run(run, rows.narrow(1, run.begin, run.width), rest.narrow(0, run.begin, run.width),
                      later[static_cast<size_t>(i)]))
        ok = false;
    });
    if (!ok) return std::nullopt;
    end = begin;
  }
  return runs;
}

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
    auto runs = factored_runs(factor.rows, rest + mean * damping.lambda());
    factor.lambda = damping.lambda();
    factor.ok = runs.has_value();
    if (factor.ok) factor.runs = std::move(*runs);
  } while (!factor.ok && damping.climb());
  return factor;
}

}  // namespace ctq::linalg
