#include "linalg/scale_search.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "linalg/kernels/cpu/ldlq_kernels.h"

namespace ctq::linalg {
namespace {

static_assert(kMaxSearchedRun <= cpu::kMaxBlockCols);

/// Matrices and vectors: a vector has one column.
template <typename T>
cpu::View<T> view(T* data, const at::Tensor& tensor) {
  return {data, tensor.stride(0), tensor.dim() > 1 ? tensor.stride(1) : 0};
}

cpu::View<const float> reading(const at::Tensor& tensor) {
  return view<const float>(tensor.const_data_ptr<float>(), tensor);
}

}  // namespace

SearchedScales search_scales(const at::Tensor& weight, int64_t run, Code code, const at::Tensor& candidates,
                             const Moment& h) {
  TORCH_INTERNAL_ASSERT(run <= kMaxSearchedRun && weight.is_cpu() && weight.scalar_type() == at::kFloat);
  const int64_t rows = weight.size(0), columns = weight.size(1), across = candidates.size(2);
  SearchedScales found{at::empty({rows, across}, weight.options()),
                       at::empty({rows, columns}, weight.options())};
  for (int64_t i = 0; i < across; ++i) {
    const int64_t begin = i * run, width = std::min(run, columns - begin);
    const at::Tensor tried = candidates.select(2, i), scale = found.scale.select(1, i);
    const at::Tensor part = weight.narrow(1, begin, width), values = found.values.narrow(1, begin, width);
    const at::Tensor metric = h.defined() ? h.block(begin, width, begin, width) : at::Tensor();
    cpu::ldlq_kernels().search(
        code, {.rows = rows,
               .cols = width,
               .candidates = tried.size(0),
               .weight = reading(part),
               .tried = reading(tried),
               .metric = metric.defined() ? reading(metric) : cpu::View<const float>{nullptr, 0, 0},
               .scale = view(scale.mutable_data_ptr<float>(), scale),
               .values = view(values.mutable_data_ptr<float>(), values)});
  }
  return found;
}

}  // namespace ctq::linalg
