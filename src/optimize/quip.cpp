#include "optimize/quip.h"

#include <bit>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "linalg/hadamard.h"
#include "linalg/panels.h"
#include "optimize/second_moment.h"

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
    y = linalg::product(y.transpose(1, 2).reshape({-1, rest}), rest_)
            .reshape({-1, power_, rest})
            .transpose(1, 2);
  return y.reshape({-1, size});
}

at::Tensor Incoherence::backward(const at::Tensor& y) const {
  const int64_t size = signs_.size(0), rest = rest_.size(0);
  at::Tensor x = y.reshape({-1, rest, power_});
  if (rest > 1)
    x = linalg::product(x.transpose(1, 2).reshape({-1, rest}), rest_.t().contiguous())
            .reshape({-1, power_, rest})
            .transpose(1, 2);
  x = linalg::walsh_hadamard(x.reshape({-1, power_}), 1);
  return x.reshape({-1, size}) * signs_;
}

Rounding round_with_incoherence(const Layer& layer, const linalg::Moment& h, const QuipSettings& settings) {
  if (layer.weight.numel() == 0) return round_with_second_moment(layer, h, settings.one_pass, "quip");
  const at::Device device = layer.weight.device();
  const Incoherence out(layer.weight.size(0), settings.seed, settings.hadamard, device);
  const Incoherence in(layer.weight.size(1), settings.seed + 1, settings.hadamard, device);
  OnePassSettings inside = settings.one_pass;
  inside.scales = Scales::kAbsmax;
  const Rounding rotated = round_with_second_moment(
      rotated_layer(layer, out, in), h.turned([&](const at::Tensor& x) { return in.forward(x); }), inside,
      "quip");
  const at::Tensor decoded = rotated.values * rotated.scale;

  OnePassSettings stored = settings.one_pass;
  stored.also = in.backward(out.backward(decoded.t().contiguous()).t().contiguous());
  return round_with_second_moment(layer, h, stored, "quip");
}

namespace {

linalg::ColumnOrder order(const Settings& settings) { return settings.quip_order; }

double cost(const Settings& settings, double columns) { return 2 * one_pass_cost(settings, columns); }

Footprint footprint(const Settings& settings, const Space& space) {
  return moment_footprint(settings, space, /*rows=*/14);
}

/// A format whose codes stay in a random basis is rounded there, in one pass.
Rounding round_by_quip(const Layer& layer, const Settings& settings, const SecondMoment* moment) {
  if (layer.form.codec && layer.form.codec->incoherent) return round_one_pass(layer, settings, moment);
  return round_with_incoherence(layer, moment->h,
                                {.one_pass = one_pass_settings(layer, settings, *moment),
                                 .seed = settings.quip_seed,
                                 .hadamard = settings.quip_hadamard});
}

}  // namespace

constinit const Optimizer kQuip = {
    .name = "quip",
    .needs = {.moment = true, .implied = true, .recorded = true},
    .names_itself = true,
    .by_segments = true,
    .incoherent = true,
    .order = order,
    .cost = cost,
    .footprint = footprint,
    .round = round_by_quip,
};

}  // namespace ctq::optimize
