#include "linalg/rounding_block.h"

#include <ATen/ATen.h>

#include "linalg/gpu_kernels.h"
#include "linalg/kernels/cpu/ldlq_kernels.h"
#include "linalg/nearest.h"

namespace ctq::linalg {
namespace {

static_assert(kBlockCols <= kMaxBlockCols);

constexpr double kLeastGain = 1e-3;  // as in the kernels

bool has_cpu_kernel(const at::Tensor& tensor) {
  return tensor.is_cpu() && tensor.scalar_type() == at::kFloat;
}

View<const float> reading(const at::Tensor& matrix) {
  return {matrix.const_data_ptr<float>(), matrix.stride(0), matrix.stride(1)};
}

View<float> writing(const at::Tensor& matrix) {
  return {matrix.mutable_data_ptr<float>(), matrix.stride(0), matrix.stride(1)};
}

RoundingBlock for_kernel(const Block& block) {
  return {block.weight.size(0),    block.weight.size(1), reading(block.weight), reading(block.scale),
          reading(block.coupling), writing(block.error), writing(block.values)};
}

at::Tensor over_scale(const at::Tensor& numerator, const at::Tensor& scale) {
  return at::where(scale > 0, numerator / scale, 0);
}

/// moved_k += amount * coupling_jk for k > j.
void spread(const at::Tensor& amount, const at::Tensor& coupling, int64_t j, at::Tensor& moved) {
  const int64_t rest = coupling.size(0) - j - 1;
  if (rest > 0) moved.narrow(1, j + 1, rest).addr_(amount, coupling[j].narrow(0, j + 1, rest));
}

void round_columns(const Block& block, at::Tensor& target) {
  if (has_cpu_kernel(target))
    return cpu::ldlq_kernels().round(block.code, for_kernel(block), reading(target));
  for (int64_t j = 0; j < target.size(1); ++j) {
    const at::Tensor s = block.scale.select(1, j);
    const at::Tensor value = nearest(over_scale(target.select(1, j), s), block.code);
    const at::Tensor error = value * s - block.weight.select(1, j);
    block.values.select(1, j).copy_(value);
    block.error.select(1, j).copy_(error);
    spread(-error, block.coupling, j, target);
  }
}

void refine_columns(const Block& block, at::Tensor& gradient) {
  const at::Tensor diagonal = block.coupling.diagonal();
  for (int64_t j = 0; j < gradient.size(1); ++j) {
    const at::Tensor s = block.scale.select(1, j), g = gradient.select(1, j), h = diagonal[j];
    const at::Tensor old = block.values.select(1, j).clone();
    const at::Tensor candidate = nearest(over_scale(old * s - over_scale(g, h), s), block.code);
    const at::Tensor delta = (candidate - old) * s;
    const at::Tensor gain = -delta * (2 * g + delta * h);
    const at::Tensor better = (gain > kLeastGain * delta.square() * h).logical_and_(h > 0);
    const at::Tensor value = at::where(better, candidate, old);
    block.values.select(1, j).copy_(value);
    block.error.select(1, j).copy_(value * s - block.weight.select(1, j));
    spread(at::where(better, delta, 0), block.coupling, j, gradient);
  }
}

}  // namespace

void round_block(const Block& block, at::Tensor& target, const BlockCosts& costs) {
  const bool asked = costs.pivots.defined();
  if (const gpu::Kernels* kernels = gpu_kernels(target)) {
    check_device(target.device(), {block.weight, block.scale, block.coupling, block.error, block.values,
                                   costs.pivots, costs.cost});
    const gpu::RowCosts for_rows = {asked ? costs.pivots.const_data_ptr<float>() : nullptr,
                                    asked ? costs.cost.mutable_data_ptr<double>() : nullptr};
    return check_launch(*kernels, kernels->round(block.code, for_kernel(block), reading(target), for_rows,
                                                 gpu_queue(target.device())));
  }
  // q_j - t_j is the error and what the block's own earlier ones add, E U, beside the weight less the target.
  at::Tensor missed = asked ? block.weight - target : at::Tensor();
  round_columns(block, target);
  if (!asked) return;
  missed.addmm_(block.error, block.coupling);
  costs.cost.add_(missed.square_().mul_(costs.pivots).sum(1, /*keepdim=*/false, at::kDouble));
}

void refine_block(const Block& block, at::Tensor& gradient, const at::Tensor& change) {
  if (const gpu::Kernels* kernels = gpu_kernels(gradient)) {
    check_device(gradient.device(),
                 {block.weight, block.scale, block.coupling, block.error, block.values, change});
    return check_launch(*kernels, kernels->refine(block.code, for_kernel(block), reading(gradient),
                                                  writing(change), gpu_queue(gradient.device())));
  }
  if (has_cpu_kernel(gradient))
    return cpu::ldlq_kernels().refine(block.code, for_kernel(block), reading(gradient), writing(change));
  const at::Tensor before = block.error.clone();
  refine_columns(block, gradient);
  change.copy_(block.error - before);
}

at::Tensor scale_of_rows(const at::Tensor& scale, Tiling tiling, int64_t row, int64_t rows, int64_t cols,
                         const at::Tensor& order) {
  const auto index = at::TensorOptions().dtype(at::kLong).device(scale.device());
  const at::Tensor of_rows =
      scale.index_select(0, at::arange(row, row + rows, index).div_(tiling.rows, /*rounding_mode=*/"floor"));
  if (of_rows.size(1) == 1) return of_rows.expand({rows, cols});
  const at::Tensor columns = order.defined() ? order : at::arange(cols, index);
  return of_rows.index_select(1, columns.div(tiling.cols, /*rounding_mode=*/"floor"));
}

}  // namespace ctq::linalg
