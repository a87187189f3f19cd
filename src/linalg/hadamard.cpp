#include "linalg/hadamard.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <type_traits>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "base/error.h"
#include "linalg/bf16.h"
#include "linalg/gpu_kernels.h"

namespace ctq::linalg {
namespace {

constexpr int64_t kTaskElements = int64_t{1} << 16;  // for a thread, enough to outweigh waking it up

/// Every 4 elements that are `stride` apart, (a, b, c, d) -> (a+b+c-d, a+b-c+d, a-b+c+d, -a+b+c+d).
void regular_pass(float* x, int64_t n, int64_t stride) {
  for (int64_t begin = 0; begin < n; begin += 4 * stride) {
    float* const first = x + begin;
    for (int64_t i = 0; i < stride; ++i) {
      const float a = first[i], b = first[i + stride], c = first[i + 2 * stride], d = first[i + 3 * stride];
      const float a_plus_b = a + b, a_minus_b = a - b, c_plus_d = c + d, c_minus_d = c - d;
      first[i] = a_plus_b + c_minus_d;
      first[i + stride] = a_plus_b - c_minus_d;
      first[i + 2 * stride] = c_plus_d + a_minus_b;
      first[i + 3 * stride] = c_plus_d - a_minus_b;
    }
  }
}

at::Tensor regular_pass(const at::Tensor& x, int64_t stride) {
  const at::Tensor quads = x.view({-1, 4, stride});
  const at::Tensor a = quads.select(1, 0), b = quads.select(1, 1), c = quads.select(1, 2),
                   d = quads.select(1, 3);
  const at::Tensor a_plus_b = a + b, a_minus_b = a - b, c_plus_d = c + d, c_minus_d = c - d;
  return at::stack({a_plus_b + c_minus_d, a_plus_b - c_minus_d, c_plus_d + a_minus_b, c_plus_d - a_minus_b},
                   1);
}

/// Every 2 elements that are `stride` apart, (a, b) -> (a+b, a-b).
void sylvester_pass(float* x, int64_t n, int64_t stride) {
  for (int64_t begin = 0; begin < n; begin += 2 * stride) {
    float* const first = x + begin;
    for (int64_t i = 0; i < stride; ++i) {
      const float a = first[i], b = first[i + stride];
      first[i] = a + b;
      first[i + stride] = a - b;
    }
  }
}

at::Tensor sylvester_pass(const at::Tensor& x, int64_t stride) {
  const at::Tensor pairs = x.view({-1, 2, stride});
  const at::Tensor a = pairs.select(1, 0), b = pairs.select(1, 1);
  return at::stack({a + b, a - b}, 1);
}

struct Regular {
  static constexpr int64_t kRadix = 4;
  static void pass(float* x, int64_t n, int64_t stride) { regular_pass(x, n, stride); }
  static at::Tensor pass(const at::Tensor& x, int64_t stride) { return regular_pass(x, stride); }
};
struct Sylvester {
  static constexpr int64_t kRadix = 2;
  static void pass(float* x, int64_t n, int64_t stride) { sylvester_pass(x, n, stride); }
  static at::Tensor pass(const at::Tensor& x, int64_t stride) { return sylvester_pass(x, stride); }
};

/// Transforms every run of n elements. x: float32, contiguous; may be changed in place.
template <typename Butterfly>
at::Tensor transform_runs(at::Tensor x, int64_t n) {
  if (x.numel() == 0) return x;
  const auto normalise = static_cast<float>(1 / std::sqrt(static_cast<double>(n)));
  if (!x.is_cpu()) {
    at::Tensor y = x;
    const bool bf16 = uses_bf16(Bf16Operation::kHadamard, static_cast<double>(x.numel()), x);
    const gpu::Kernels* kernels = bf16 || n > gpu::kMostHadamard ? nullptr : gpu_kernels(x);
    if (kernels) {
      check_launch(*kernels,
                   kernels->hadamard(x.mutable_data_ptr<float>(), x.numel(), n,
                                     std::is_same_v<Butterfly, Regular>, normalise, gpu_queue(x.device())));
      return x;
    }
    for (int64_t stride = 1; stride < n; stride *= Butterfly::kRadix) {
      y = Butterfly::pass(y, stride);
      if (bf16) y = rounded_to_bf16(y);
    }
    return y.view(x.sizes()) * normalise;
  }
  float* const data = x.mutable_data_ptr<float>();
  at::parallel_for(0, x.numel() / n, std::max<int64_t>(1, kTaskElements / n),
                   [&](int64_t begin, int64_t end) {
                     for (float* run = data + begin * n; run < data + end * n; run += n) {
                       for (int64_t stride = 1; stride < n; stride *= Butterfly::kRadix)
                         Butterfly::pass(run, n, stride);
                       for (int64_t i = 0; i < n; ++i) run[i] *= normalise;
                     }
                   });
  return x;
}

at::Tensor float32_copy(const at::Tensor& x) {
  return x.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true, at::MemoryFormat::Contiguous);
}

bool power_of_two(int64_t n) { return n > 0 && std::has_single_bit(static_cast<uint64_t>(n)); }

}  // namespace

bool is_rotation_size(int64_t group_size) {
  return group_size >= 4 && power_of_two(group_size) &&
         std::countr_zero(static_cast<uint64_t>(group_size)) % 2 == 0;
}

at::Tensor rotate_columns(const at::Tensor& weight, int64_t group_size) {
  const int64_t in_features = weight.size(1);
  if (!is_rotation_size(group_size)) {
    fail(ErrorCode::kUsage, "rotation group size {}: must be a power of 4 (4, 16, 64, 256, ..)", group_size);
  }
  if (in_features % group_size != 0) {
    fail(ErrorCode::kUsage, "rotation group size {} does not divide the {} input features", group_size,
         in_features);
  }
  return transform_runs<Regular>(float32_copy(weight), group_size);
}

at::Tensor walsh_hadamard(const at::Tensor& x, int64_t dim) {
  const int64_t n = x.size(dim);
  if (!power_of_two(n))
    fail(ErrorCode::kUsage, "Walsh-Hadamard transform of size {}: must be a power of two", n);
  return transform_runs<Sylvester>(float32_copy(x.movedim(dim, -1)), n).movedim(-1, dim);
}

}  // namespace ctq::linalg
