#include "linalg/sample_space.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "linalg/panels.h"

namespace ctq::linalg {
namespace {

/// P^-1, symmetric: what lies below the diagonal of its panels is neither kept nor read.
class Inverse {
 public:
  Inverse(int64_t size, const at::TensorOptions& options) : upper_(at::eye(size, options)) {}

  /// P^-1 x.
  at::Tensor times(const at::Tensor& x) const {
    at::Tensor result = at::empty_like(x, at::MemoryFormat::Contiguous);
    for_rows([&](int64_t row, int64_t rows) {
      at::Tensor out = result.narrow(0, row, rows);
      at::mm_out(out, right_of(row, rows), x.narrow(0, row, x.size(0) - row));
      if (row > 0) out.addmm_(upper_.narrow(0, 0, row).narrow(1, row, rows).t(), x.narrow(0, 0, row));
    });
    return result;
  }
  /// P^-1 - a b^T, which is symmetric.
  void subtract(const at::Tensor& a, const at::Tensor& b) {
    for_rows([&](int64_t row, int64_t rows) {
      right_of(row, rows).addmm_(a.narrow(0, row, rows), b.narrow(0, row, b.size(0) - row).t(), /*beta=*/1,
                                 /*alpha=*/-1);
    });
  }

 private:
  at::Tensor right_of(int64_t row, int64_t rows) const {
    return upper_.narrow(0, row, rows).narrow(1, row, upper_.size(1) - row);
  }
  template <typename Run>
  void for_rows(const Run& run) const {
    for_panels(upper_.device(), upper_.size(0), run);
  }

  at::Tensor upper_;
};

/// Nothing where one of them cannot be factored.
std::optional<std::vector<SampleFactor::Run>> factored_runs(const at::Tensor& rows,
                                                            const BlockDiagonal& rest) {
  const int64_t columns = rest.size(), count = (columns + kSampleRun - 1) / kSampleRun;
  std::vector<SampleFactor::Run> runs(static_cast<size_t>(count));
  Inverse inverse(rows.size(0), rows.options());
  std::vector<at::Tensor> statuses(static_cast<size_t>(count));
  for (int64_t i = count - 1; i >= 0; --i) {
    throw_if_cancelled();
    SampleFactor::Run& run = runs[static_cast<size_t>(i)];
    run.begin = i * kSampleRun, run.width = std::min(kSampleRun, columns - run.begin);
    const at::Tensor x = rows.narrow(1, run.begin, run.width), whole = inverse.times(x);
    const at::Tensor m = product(x.t(), whole);
    rest.add_to(m, run.begin, run.begin);
    at::Tensor& status = statuses[static_cast<size_t>(i)];
    run.factor = undamped_factor(m, &status);
    if (rows.is_cpu() && !is_factored(status)) return std::nullopt;
    run.pull = solve(run.factor, whole);
    if (i > 0) inverse.subtract(run.pull, whole);
  }
  if (!is_factored(statuses)) return std::nullopt;
  return runs;
}

}  // namespace

SampleFactor sample_factor(const Moment& h, double lambda, ColumnOrder order) {
  SampleFactor factor;
  const at::Tensor diagonal = h.diagonal();
  const double mean = mean_of(diagonal);
  const int64_t block = h.rest().width();
  TORCH_INTERNAL_ASSERT(block == 1 || stays_in_samples(block));
  BlockDiagonal rest = h.rest().shifted((diagonal == 0).to(diagonal.scalar_type()));
  factor.rows = h.rows();
  if (order == ColumnOrder::kActOrder) {
    const at::Tensor blocks = columns_by(diagonal.reshape({-1, block}).mean(1));
    factor.order = (blocks.unsqueeze(1) * block + at::arange(block, blocks.options())).reshape({-1});
    factor.rows = factor.rows.index_select(1, factor.order);
    rest = rest.ordered(factor.order);
  }
  DampingLadder damping(lambda);
  do {
    const at::Tensor shift = at::scalar_tensor(mean * damping.lambda(), diagonal.options());
    auto runs = factored_runs(factor.rows, rest.shifted(shift));
    factor.lambda = damping.lambda();
    factor.ok = runs.has_value();
    if (factor.ok) factor.runs = std::move(*runs);
  } while (!factor.ok && damping.climb());
  return factor;
}

}  // namespace ctq::linalg
