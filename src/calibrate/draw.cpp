#include "calibrate/draw.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "linalg/panels.h"

namespace ctq::calibrate {
namespace {

constexpr int64_t kPanel = linalg::kPanelRows;  // rows with a generator of their own
constexpr int64_t kChunkBytes = int64_t{32} << 20;

/// Bits of one number, spread over all 64 (splitmix64): neighbouring panels get unrelated generators.
uint64_t spread(uint64_t bits) {
  bits += 0x9E3779B97F4A7C15u;
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9u;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBu;
  return bits ^ (bits >> 31);
}

/// Normal rows with the mean and the size per row that the norm gives.
at::Tensor normed_rows(Norm norm, int64_t rows, int64_t width, uint64_t seed) {
  // LibTorch's generator takes 32 bits of its seed.
  at::Tensor z = at::randn({rows, width}, at::detail::createCPUGenerator(seed & 0xFFFFFFFF), at::kFloat);
  if (norm == Norm::kLayer) z.sub_(z.mean(1, /*keepdim=*/true));
  const at::Tensor size = at::linalg_vector_norm(z, 2, at::IntArrayRef{1}, /*keepdim=*/true);
  return z.mul_(std::sqrt(static_cast<double>(width))).div_(size.clamp_min_(1e-20));
}

at::Tensor apply(const Linear& linear, const at::Tensor& x) {
  return linear.bias.defined() ? at::addmm(linear.bias, x, linear.weight.t()) : at::mm(x, linear.weight.t());
}

/// z [rows, width] -> [rows, outputs].
at::Tensor push(const Path& path, at::Tensor x) {
  if (path.norm_scale.defined()) x = x * path.norm_scale;
  if (path.norm_bias.defined()) x = x + path.norm_bias;
  if (path.values.weight.defined()) {
    x = apply(path.values, x);
    if (path.value_repeats > 1) {
      x = x.unflatten(1, {-1, path.value_head}).repeat_interleave(path.value_repeats, 1).flatten(1);
    }
  } else if (path.gate.weight.defined()) {
    const at::Tensor gate = activate(path.activation, apply(path.gate, x));
    x = path.up.weight.defined() ? gate * apply(path.up, x) : gate;
  }
  return x;
}

/// H += X^T X in the blocks on and above the diagonal.
void accumulate(at::Tensor& second, const at::Tensor& x) {
  if (!x.is_cpu()) {
    second.addmm_(x.t(), x);
    return;
  }
  const int64_t size = x.size(1);
  linalg::for_panels(size, [&](int64_t first, int64_t count) {
    second.narrow(0, first, count)
        .narrow(1, first, size - first)
        .addmm_(x.narrow(1, first, count).t(), x.narrow(1, first, size - first));
  });
}

}  // namespace

Moments draw_moments(const Path& path, uint64_t seed, int64_t rows, at::Device device) {
  const int64_t outputs = path.outputs();
  const uint64_t first_generator = spread(seed);
  const auto options = at::TensorOptions(at::kFloat).device(device);
  at::Tensor second = at::zeros({outputs, outputs}, options), mean = at::zeros({outputs}, options);
  const int64_t row_bytes = std::max(path.width, outputs) * static_cast<int64_t>(sizeof(float));
  const int64_t chunk = std::max<int64_t>(kChunkBytes / row_bytes / kPanel, 1) * kPanel;
  for (int64_t done = 0; done < rows; done += chunk) {
    const int64_t now = std::min(chunk, rows - done);
    const bool on_cpu = device.is_cpu();
    at::Tensor x = at::empty({now, on_cpu ? outputs : path.width}, at::kFloat);
    linalg::for_panels(now, [&](int64_t first, int64_t count) {
      const auto panel = static_cast<uint64_t>((done + first) / kPanel);
      at::Tensor z = normed_rows(path.norm, count, path.width, spread(first_generator + panel));
      // Attention averages over positions; of two, as the values are linear in x.
      if (path.values.weight.defined()) z = z.roll(1, 0).add_(z).mul_(0.5);
      x.narrow(0, first, count).copy_(on_cpu ? push(path, z) : z);
    });
    if (!on_cpu) x = push(path, x.to(device));
    accumulate(second, x);
    if (on_cpu) {
      linalg::for_panels(outputs, [&](int64_t first, int64_t count) {
        mean.narrow(0, first, count).add_(x.narrow(1, first, count).sum(0));
      });
    } else {
      mean.add_(x.sum(0));
    }
  }
  linalg::mirror_upper(second.div_(static_cast<double>(rows)));
  mean.div_(static_cast<double>(rows));
  return {.second = second, .mean = mean};
}

}  // namespace ctq::calibrate
