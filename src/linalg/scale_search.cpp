#include "linalg/scale_search.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "linalg/gpu_kernels.h"
#include "linalg/kernels/cpu/ldlq_kernels.h"

namespace ctq::linalg {
namespace {

static_assert(kMaxSearchedRun <= kMaxBlockCols);

/// Matrices and vectors: a vector has one column.
template <typename T>
View<T> view(T* data, const at::Tensor& tensor) {
  return {data, tensor.stride(0), tensor.dim() > 1 ? tensor.stride(1) : 0};
}

View<const float> reading(const at::Tensor& tensor) {
  return view<const float>(tensor.const_data_ptr<float>(), tensor);
}

void search_on_gpu(const gpu::Kernels& kernels, const at::Tensor& weight, int64_t run, Code code,
                   const at::Tensor& candidates, const Moment& h, SearchedScales& found) {
  const at::Tensor tried = candidates.contiguous(), metric = h.defined() ? h.blocks(run) : at::Tensor();
  check_device(weight.device(), {tried, metric});
  const gpu::SearchRuns runs = {.rows = weight.size(0),
                                .cols = weight.size(1),
                                .run = run,
                                .candidates = tried.size(0),
                                .weight = reading(weight),
                                .tried = tried.const_data_ptr<float>(),
                                .metric = metric.defined() ? metric.const_data_ptr<float>() : nullptr,
                                .scale = found.scale.mutable_data_ptr<float>(),
                                .values = found.values.mutable_data_ptr<float>()};
  check_launch(kernels, kernels.search(code, runs, gpu_queue(weight.device())));
}

void search_on_cpu(const at::Tensor& weight, int64_t run, Code code, const at::Tensor& candidates,
                   const Moment& h, SearchedScales& found) {
  const int64_t columns = weight.size(1);
  for (int64_t i = 0; i < candidates.size(2); ++i) {
    const int64_t begin = i * run, width = std::min(run, columns - begin);
    const at::Tensor tried = candidates.select(2, i), scale = found.scale.select(1, i);
    const at::Tensor part = weight.narrow(1, begin, width), values = found.values.narrow(1, begin, width);
    const at::Tensor metric = h.defined() ? h.block(begin, width, begin, width) : at::Tensor();
    cpu::ldlq_kernels().search(
        code, {.rows = weight.size(0),
               .cols = width,
               .candidates = tried.size(0),
               .weight = reading(part),
               .tried = reading(tried),
               .metric = metric.defined() ? reading(metric) : View<const float>{nullptr, 0, 0},
               .scale = view(scale.mutable_data_ptr<float>(), scale),
               .values = view(values.mutable_data_ptr<float>(), values)});
  }
}

}  // namespace

bool searches_runs(const at::Tensor& weight, int64_t run) {
  return run <= kMaxSearchedRun && weight.scalar_type() == at::kFloat &&
         (weight.is_cpu() || gpu_kernels(weight) != nullptr);
}

SearchedScales search_scales(const at::Tensor& weight, int64_t run, Code code, const at::Tensor& candidates,
                             const Moment& h) {
  TORCH_INTERNAL_ASSERT(searches_runs(weight, run));
  SearchedScales found{at::empty({weight.size(0), candidates.size(2)}, weight.options()),
                       at::empty({weight.size(0), weight.size(1)}, weight.options())};
  if (const gpu::Kernels* kernels = gpu_kernels(weight))
    search_on_gpu(*kernels, weight, run, code, candidates, h, found);
  else
    search_on_cpu(weight, run, code, candidates, h, found);
  return found;
}

}  // namespace ctq::linalg
