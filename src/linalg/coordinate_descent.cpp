#include "linalg/coordinate_descent.h"

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>

#include "linalg/panels.h"
#include "linalg/rounding_block.h"

namespace ctq::linalg {
namespace {

/// Blocks of H on its diagonal: of a matrix views, else each is made once.
std::vector<at::Tensor> groups_of(const Moment& h) {
  const int64_t cols = h.size();
  std::vector<at::Tensor> groups((static_cast<size_t>(cols + kGroupCols - 1)) / kGroupCols);
  const auto make = [&](int64_t i) {
    const int64_t begin = i * kGroupCols, width = std::min(kGroupCols, cols - begin);
    groups[static_cast<size_t>(i)] = h.block(begin, width, begin, width);
  };
  for_each_part(h.device(), static_cast<int64_t>(groups.size()), make);
  return groups;
}

/// pull: of H and error
void sweep_rows(at::Tensor& values, at::Tensor& error, const at::Tensor& weight, Pull& pull,
                const std::vector<at::Tensor>& groups, const at::Tensor& scale, Code code) {
  const int64_t cols = weight.size(1);
  for (int64_t group = 0; group < cols; group += kGroupCols) {
    const int64_t group_end = std::min(group + kGroupCols, cols);
    const at::Tensor& within = groups[static_cast<size_t>(group / kGroupCols)];
    // Afresh for every group rather than kept for all columns: the same work, and no rounding piles up.
    at::Tensor gradients = pull.columns(group, group_end - group);
    const at::Tensor changes = at::empty_like(gradients);
    for (int64_t begin = group; begin < group_end; begin += kBlockCols) {
      const int64_t width = std::min(kBlockCols, group_end - begin), rest = group_end - begin - width;
      const auto columns = [&](const at::Tensor& matrix) { return matrix.narrow(1, begin, width); };
      const int64_t in_group = begin - group;
      const at::Tensor of_block = within.narrow(0, in_group, width);
      at::Tensor gradient = gradients.narrow(1, in_group, width), change = changes.narrow(1, in_group, width);
      refine_block({code, columns(weight), columns(scale), of_block.narrow(1, in_group, width),
                    columns(error), columns(values)},
                   gradient, change);
      if (rest == 0) continue;
      gradients.narrow(1, in_group + width, rest).addmm_(change, of_block.narrow(1, in_group + width, rest));
    }
    pull.moved(group, changes);
  }
}

}  // namespace

CoordinateDescent::CoordinateDescent(const Moment& h) : h_(h.by_columns()), groups_(groups_of(h_)) {}

at::Tensor CoordinateDescent::swept(const at::Tensor& values, const at::Tensor& weight, Tiling tiling,
                                    Code code, const at::Tensor& scale, int64_t sweeps, at::Tensor* cost,
                                    const at::Tensor& mapped) const {
  at::Tensor result = values.clone(at::MemoryFormat::Contiguous);
  if (cost)
    *cost = h_.is_matrix() ? at::Tensor() : at::empty({weight.size(0)}, weight.options().dtype(at::kDouble));
  const at::Tensor scales = scale.to(weight.scalar_type());
  const auto refine_panel = [&](int64_t row, int64_t rows) {
    const at::Tensor panel = weight.narrow(0, row, rows);
    const at::Tensor panel_scale = scale_of_rows(scales, tiling, row, rows, weight.size(1));
    at::Tensor out = result.narrow(0, row, rows), error = out * panel_scale - panel;
    Pull pull(h_, error, mapped.defined() ? mapped.narrow(0, row, rows) : mapped);
    for (int64_t i = 0; i < sweeps; ++i) sweep_rows(out, error, panel, pull, groups_, panel_scale, code);
    if (cost && cost->defined()) cost->narrow(0, row, rows).copy_(pull.costs());
  };
  for_panels(weight.device(), weight.size(0), refine_panel);
  return result;
}

at::Tensor coordinate_descent(const at::Tensor& values, const at::Tensor& weight, const Moment& h,
                              Tiling tiling, Code code, const at::Tensor& scale, int64_t sweeps,
                              at::Tensor* cost) {
  return CoordinateDescent(h).swept(values, weight, tiling, code, scale, sweeps, cost);
}

}  // namespace ctq::linalg
