#include "optimize/learned_relaxation.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "format/grid.h"
#include "linalg/panels.h"
#include "optimize/solvers/ordered_sum.h"

namespace ctq::optimize {
namespace {

/// Calls run(first row, number of rows), on the CPU in parallel. Nothing may depend on the number of threads:
/// one bit of the loss decides between two trajectories.
template <typename Run>
void for_rows(const at::Tensor& like, const Run& run) {
  constexpr int64_t kRows = 96;  // divides the usual widths evenly among few cores
  const int64_t all = like.size(0);
  if (!like.is_cpu()) return run(0, all);
  linalg::for_each_on_one_thread((all + kRows - 1) / kRows, [&](int64_t panel) {
    run(panel * kRows, std::min(kRows, all - panel * kRows));
  });
}

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  at::Tensor result = at::empty({a.size(0), b.size(1)}, a.options());
  for_rows(a, [&](int64_t row, int64_t rows) {
    at::Tensor panel = result.narrow(0, row, rows);
    at::mm_out(panel, a.narrow(0, row, rows), b);
  });
  return result;
}

at::Tensor frobenius(const at::Tensor& matrix) { return ordered_sum(matrix.square()).sqrt(); }

}  // namespace

Neighbours neighbours_of(const Layer& layer) {
  Neighbours found;
  const at::Tensor scale = expanded_scale(layer, layer.scale), ideal = scaled(layer.weight, scale);
  found.below = layer.grid->below(ideal);
  found.above = layer.grid->above(ideal);
  found.lower_error = error_of(layer, found.below);
  const at::Tensor gap = found.above - found.below, open = gap > 0;
  at::Tensor h = at::where(open, (ideal - found.below) / gap, 0);
  // The codec may have rounded w * (1 / scale) where this divides: its side counts, ties included.
  constexpr double kJustAboveHalf = 0.5 + 1e-6;
  h = at::where(layer.nearest == found.above, h.clamp_min(kJustAboveHalf), h.clamp_max(0.5));
  Positions& positions = found.positions;
  positions.h = h.contiguous();
  positions.start = positions.h.clone();
  positions.height = (gap * scale).contiguous();
  positions.spacing =
      frobenius(positions.height).item<double>() / std::sqrt(static_cast<double>(positions.height.numel()));
  positions.codes_per_x =
      at::where(positions.height > 0, positions.spacing / positions.height, 0).contiguous();
  return found;
}

Relaxation::Relaxation(const Layer& layer, at::Tensor u, at::Tensor v)
    : u_(std::move(u)), v_(std::move(v)), u_t_(u_.t().contiguous()), v_t_(v_.t().contiguous()) {
  Neighbours neighbours = neighbours_of(layer);
  below_ = neighbours.below;
  above_ = neighbours.above;
  lower_error_ = neighbours.lower_error;
  positions_ = std::move(neighbours.positions);
  weight_norm_ = frobenius(layer.weight).item<double>();
  any_choice_ = positions_.spacing > 0 && weight_norm_ > 0;

  sides_ = at::empty_like(positions_.h);
  error_ = at::empty_like(positions_.h);
  gradient_ = at::empty_like(positions_.h);
  error_times_v_ = at::empty({u_.size(0), v_.size(1)}, u_.options());
}

at::Tensor Relaxation::measure() {
  for_rows(error_, [&](int64_t row, int64_t rows) {
    const auto panel = [&](const at::Tensor& t) { return t.narrow(0, row, rows); };
    at::Tensor sides = panel(sides_), error = panel(error_), times_v = panel(error_times_v_);
    at::gt_out(sides, panel(positions_.h), 0.5);
    at::addcmul_out(error, panel(lower_error_), panel(positions_.height), sides);
    at::mm_out(times_v, error, v_);
  });
  projected_ = product(u_t_, error_times_v_);
  projected_norm_ = frobenius(projected_);
  return projected_norm_ / weight_norm_;
}

const at::Tensor& Relaxation::gradient() {
  const double root = std::sqrt(static_cast<double>(error_.numel()));
  const at::Tensor p = projected_ * (root / projected_norm_.clamp_min(1e-30));
  for_rows(gradient_, [&](int64_t row, int64_t rows) {
    at::Tensor panel = gradient_.narrow(0, row, rows);
    at::mm_out(panel, at::mm(u_.narrow(0, row, rows), p), v_t_);
  });
  return gradient_;
}

at::Tensor Relaxation::values(const at::Tensor& sides) const {
  return at::where(sides > 0.5, above_, below_);
}

double Relaxation::loss_of(const Layer& layer, const at::Tensor& values) const {
  return frobenius(product(u_t_, product(error_of(layer, values), v_))).item<double>() / weight_norm_;
}

}  // namespace ctq::optimize
