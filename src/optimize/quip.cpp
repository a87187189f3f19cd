#include "ctq/optimize/quip.h"

#include <bit>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "ctq/linalg/hadamard.h"
#include "ctq/linalg/ldlq.h"
#include "ctq/linalg/objective.h"
#include "ctq/linalg/panels.h"

namespace ctq::optimize {
namespace {

at::Generator generator(uint64_t seed) { return at::make_generator<at::CPUGeneratorImpl>(seed & 0xFFFFFFFF); }

/// Uniform over orthogonal matrices. Mezzadri, "How to generate random matrices from the classical compact
/// groups", Notices of the AMS 54 (2007).
at::Tensor random_orthogonal(int64_t size, const at::Generator& random) {
  const linalg::OneBlasThread one_thread;
  const auto [q, r] =
      at::linalg_qr(at::randn({size, size}, random, at::TensorOptions(at::kFloat)), "reduced");
  return q * r.diagonal().sign();
}

/// x rest^T without depending on the number of threads.
at::Tensor product(const at::Tensor& x, const at::Tensor& matrix) {
  if (!x.is_cpu()) return x.mm(matrix);
  at::Tensor result = at::empty({x.size(0), matrix.size(1)}, x.options());
  linalg::for_panels(x.size(0), [&](int64_t row, int64_t rows) {
    at::Tensor panel = result.narrow(0, row, rows);
    at::mm_out(panel, x.narrow(0, row, rows), matrix);
  });
  return result;
}

/// The layer's weight in other bases, with a scale per row.
Layer rotated_layer(const Layer& layer, const Incoherence& out, const Incoherence& in) {
  Layer rotated;
  rotated.grid = layer.grid;
  rotated.weight = out.forward(in.forward(layer.weight).t().contiguous()).t().contiguous();
  rotated.tiling = {.rows = 1, .cols = layer.weight.size(1)};
  rotated.scale =
      rotated.weight.abs().amax(1, /*keepdim=*/true).div_(layer.grid->max_abs()).clamp_min_(1e-30);
  rotated.nearest = layer.grid->nearest(rotated.weight / rotated.scale);
  return rotated;
}

/// H' + lambda mean(diag H') I as one pass damps it, for the objective.
at::Tensor objective_of(const Layer& layer, const at::Tensor& values, const at::Tensor& scale,
                        const linalg::FeedbackFactor& factor) {
  return linalg::objective_rows(error_of(layer, values, scale), factor);
}

}  // namespace

Incoherence::Incoherence(int64_t size, uint64_t seed, bool hadamard, at::Device device) {
  const at::Generator random = generator(seed);
  power_ = hadamard ? int64_t{1} << std::countr_zero(static_cast<uint64_t>(size)) : 1;
  signs_ = at::randint(0, 2, {size}, random, at::TensorOptions(at::kFloat)).mul_(2).sub_(1).to(device);
  rest_ = random_orthogonal(size / power_, random).to(device);
}

at::Tensor Incoherence::forward(const at::Tensor& x) const {
  const int64_t size = signs_.size(0), rest = rest_.size(0);
  at::Tensor y = linalg::walsh_hadamard((x * signs_).reshape({-1, power_}), 1).reshape({-1, rest, power_});
  if (rest > 1)
    y = product(y.transpose(1, 2).reshape({-1, rest}), rest_).reshape({-1, power_, rest}).transpose(1, 2);
  return y.reshape({-1, size});
}

at::Tensor Incoherence::backward(const at::Tensor& y) const {
  const int64_t size = signs_.size(0), rest = rest_.size(0);
  at::Tensor x = y.reshape({-1, rest, power_});
  if (rest > 1)
    x = product(x.transpose(1, 2).reshape({-1, rest}), rest_.t().contiguous())
            .reshape({-1, power_, rest})
            .transpose(1, 2);
  x = linalg::walsh_hadamard(x.reshape({-1, power_}), 1);
  return x.reshape({-1, size}) * signs_;
}

Rounding round_with_incoherence(const Layer& layer, const at::Tensor& h, const QuipSettings& settings) {
  Rounding best = round_with_second_moment(layer, h, settings.one_pass, "quip");
  if (layer.weight.numel() == 0) return best;
  const at::Device device = layer.weight.device();
  const Incoherence out(layer.weight.size(0), settings.seed, settings.hadamard, device);
  const Incoherence in(layer.weight.size(1), settings.seed + 1, settings.hadamard, device);
  const at::Tensor rotated_h = in.forward(in.forward(h).t().contiguous());

  OnePassSettings plain = settings.one_pass;
  plain.scales = Scales::kAbsmax;
  const Layer rotated = rotated_layer(layer, out, in);
  const Rounding inside = round_with_second_moment(rotated, rotated_h, plain, "quip");
  const at::Tensor decoded = inside.values * inside.scale;

  // What came out, as the weight to be rounded where it is stored.
  Layer back = layer;
  back.weight = in.backward(out.backward(decoded.t().contiguous()).t().contiguous());
  back.scale = best.scale;
  const linalg::FeedbackFactor factor =
      linalg::damped_factor(h, settings.one_pass.lambda, settings.one_pass.order);
  if (!factor.ok) return best;
  const at::Tensor values =
      linalg::ldlq_round(back.weight, factor, layer.tiling, layer.grid->code(), back.scale);

  const at::Tensor before = objective_of(layer, best.values, best.scale, factor);
  const at::Tensor after = objective_of(layer, values, best.scale, factor);
  const at::Tensor better = after < before;
  const double total = before.sum().item<double>(),
               gained = at::where(better, before - after, 0).sum().item<double>();
  if (!(gained > 0)) return best;
  best.values = at::where(better.unsqueeze(1), values, best.values);
  best.objective_value *= 1 - gained / total;
  best.guarded = false;
  return best;
}

}  // namespace ctq::optimize
