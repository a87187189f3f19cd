#include "calibrate/closed_form.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "linalg/cholesky.h"
#include "linalg/panels.h"
#include "linalg/svd.h"

namespace ctq::calibrate {
namespace {

constexpr size_t kOrder = 8;      // smooth activations leave less than 1e-3 above it
constexpr double kReach = 8;      // deviations; beyond it the normal density is 5e-15
constexpr int64_t kPoints = 257;  // of the trapezoid rule, which converges geometrically on such integrands

/// Units from which on a matrix of all pairs costs more than what it adds (docs/optimizers/implied.md).
constexpr int64_t kManyUnits = 4096;
constexpr int64_t kUnitsPerDirection = 8;  // of the order 1
constexpr int64_t kPairedDirections = 13;  // whose products stand for the order 2
constexpr int64_t kGatedPairedDirections = 27;
constexpr int64_t kUnitsApart = 4;  // of those that are asked for the latter
constexpr uint64_t kSeed = 1;       // of the search for directions

/// A random vector by mean and covariance.
struct Normal {
  at::Tensor mean;        ///< [n] float32
  at::Tensor covariance;  ///< [n, n] float32, symmetric
};

/// The share of identity, and what is taken off for the mean of each row being zero:
/// E z z^T = share (I - centred 1 1^T), z [width] as the norm leaves it.
struct NormedRows {
  double share = 1;
  double centred = 0;
};

NormedRows normed_rows(const Path& path) {
  const auto width = static_cast<double>(path.width);
  if (path.norm != Norm::kLayer) return {};
  return {.share = path.width > 1 ? width / (width - 1) : 0, .centred = 1 / width};
}

/// What weight (g z + b) + bias multiplies z with, [out, width].
at::Tensor map_of_norm(const Path& path, const Linear& linear) {
  return path.norm_scale.defined() ? linear.weight * path.norm_scale : linear.weight;
}

at::Tensor mean_of_linear(const Path& path, const Linear& linear) {
  at::Tensor mean = at::zeros({linear.weight.size(0)}, linear.weight.options());
  if (path.norm_bias.defined()) {
    const linalg::OneBlasThread one_thread;
    mean = at::mv(linear.weight, path.norm_bias);
  }
  return linear.bias.defined() ? mean + linear.bias : mean;
}

/// weight (g z + b) + bias over random rows z.
Normal linear_of_norm(const Path& path, const Linear& linear) {
  const NormedRows z = normed_rows(path);
  const at::Tensor scaled = map_of_norm(path, linear);
  Normal y;
  y.covariance = linalg::gram(scaled.t().contiguous()).mul_(z.share);
  if (z.centred > 0) {
    const at::Tensor sums = scaled.sum(1).mul_(std::sqrt(z.share * z.centred));
    y.covariance.sub_(at::outer(sums, sums));
  }
  y.mean = mean_of_linear(path, linear);
  return y;
}

/// The same by its diagonal and one row. That all rows are centred takes one direction of `width` from H,
/// of which the diagonal has its share.
Moments wide_norm_output(const Path& path) {
  const NormedRows z = normed_rows(path);
  const at::Tensor rest = path.norm_scale.square().mul_(z.share * (1 - z.centred));
  const at::Tensor mean = path.norm_bias.defined() ? path.norm_bias : at::zeros_like(path.norm_scale);
  return {.second = {rest, mean.unsqueeze(0)}, .mean = mean};
}

Normal norm_output(const Path& path) {
  const NormedRows z = normed_rows(path);
  const at::Tensor& scale = path.norm_scale;
  Normal x;
  x.covariance = at::diag(scale.square().mul_(z.share));
  if (z.centred > 0) {
    const at::Tensor common = scale * std::sqrt(z.share * z.centred);
    x.covariance.sub_(at::outer(common, common));
  }
  x.mean = path.norm_bias.defined() ? path.norm_bias : at::zeros_like(scale);
  return x;
}

Moments moments_of(const Normal& x) {
  return {.second = x.covariance + at::outer(x.mean, x.mean), .mean = x.mean};
}

/// Copies each head as often as query heads read it.
Normal repeat_heads(const Normal& values, int64_t head, int64_t repeats) {
  const at::Tensor index = at::arange(values.mean.size(0), values.mean.options().dtype(at::kLong))
                               .unflatten(0, {-1, head})
                               .repeat_interleave(repeats, 0)
                               .flatten();
  return {.mean = values.mean.index_select(0, index),
          .covariance = values.covariance.index_select(0, index).index_select(1, index)};
}

/// The trapezoid rule for expectations over t, and the polynomials at its points.
struct Quadrature {
  at::Tensor t;        ///< [points] float64
  at::Tensor weights;  ///< [points, kOrder + 1] float64: density times h_n
  at::Tensor density;  ///< [points] float64
};

Quadrature make_quadrature(at::Device device) {
  Quadrature q;
  q.t = at::linspace(-kReach, kReach, kPoints, at::TensorOptions(at::kDouble).device(device));
  q.density = at::exp(q.t.square().mul(-0.5));
  q.density.div_(q.density.sum());
  std::vector<at::Tensor> h = {at::ones_like(q.t), q.t};
  for (size_t n = 1; n < kOrder; ++n) {
    const auto order = static_cast<double>(n);
    h.push_back((q.t * h.at(n) - std::sqrt(order) * h.at(n - 1)).div_(std::sqrt(order + 1)));
  }
  q.weights = at::stack(h, 1).mul_(q.density.unsqueeze(1));
  return q;
}

/// act(y) of every unit in Hermite polynomials, y = mean + deviation t.
struct Expansion {
  std::vector<at::Tensor> coefficients;  ///< a_n, [units] float32 each
  std::vector<at::Tensor> squares;       ///< E act(y)^2 t^k for k = 0, 1, 2, [units] float32 each
};

Expansion expand(const at::Tensor& mean, const at::Tensor& deviation, Activation activation) {
  const Quadrature q = make_quadrature(mean.device());
  const int64_t units = mean.size(0);
  const at::Tensor coefficients = at::empty({units, q.weights.size(1)}, q.t.options());
  const at::Tensor squares = at::empty({3, units}, q.t.options());
  const at::Tensor moments[] = {q.density, q.density * q.t, q.density * q.t.square()};
  linalg::for_panels(units, [&](int64_t begin, int64_t count) {
    const auto part = [&](const at::Tensor& of) {
      return of.narrow(0, begin, count).to(at::kDouble).unsqueeze(1);
    };
    const at::Tensor value = activate(activation, part(mean) + part(deviation) * q.t);  // [count, points]
    coefficients.narrow(0, begin, count).copy_(value.mm(q.weights));
    const at::Tensor square = value.square();
    for (int64_t k = 0; k < 3; ++k) squares[k].narrow(0, begin, count).copy_(square.mv(moments[k]));
  });
  Expansion expansion;
  for (const at::Tensor& order : coefficients.unbind(1))
    expansion.coefficients.push_back(order.to(at::kFloat).contiguous());
  for (const at::Tensor& square : squares.unbind(0)) expansion.squares.push_back(square.to(at::kFloat));
  return expansion;
}

at::Tensor reciprocal_or_zero(const at::Tensor& x) {
  return at::where(x > 0, x.reciprocal(), at::zeros_like(x));
}

Moments activated(Normal y, Activation activation) {
  const at::Tensor deviation = y.covariance.diagonal().clamp_min(0).sqrt();
  const at::Tensor inverse = reciprocal_or_zero(deviation);
  const Expansion expansion = expand(y.mean, deviation, activation);
  const std::vector<at::Tensor>& a = expansion.coefficients;
  const int64_t units = deviation.size(0);
  at::Tensor& second = y.covariance;  // overwritten panel by panel, on and above the diagonal
  linalg::for_panels(units, [&](int64_t begin, int64_t count) {
    at::Tensor block = second.narrow(0, begin, count).narrow(1, begin, units - begin);
    const auto rows = [&](const at::Tensor& of) { return of.narrow(0, begin, count); };
    const auto columns = [&](const at::Tensor& of) { return of.narrow(0, begin, units - begin); };
    const at::Tensor correlation = block * rows(inverse).unsqueeze(1) * columns(inverse);
    at::Tensor sum = at::outer(rows(a.back()), columns(a.back()));
    for (size_t n = kOrder; n-- > 0;) sum.mul_(correlation).addr_(rows(a.at(n)), columns(a.at(n)));
    block.copy_(sum);
  });
  second.diagonal().copy_(expansion.squares.front());
  linalg::mirror_upper(second);
  return {.second = second, .mean = a.front()};
}

int64_t directions(int64_t width, int64_t units) { return std::min(width, units / kUnitsPerDirection); }
int64_t paired_directions(bool gated, int64_t width) {
  return std::min(width, gated ? kGatedPairedDirections : kPairedDirections);
}
int64_t pairs(int64_t count) { return count * (count + 1) / 2; }

/// weight (g z + b) + bias, unit by unit: mean + deviation times a direction's product with normal numbers.
struct Units {
  at::Tensor mean, deviation;  ///< [units]
  at::Tensor directions;       ///< [units, width], of length 1, or 0 where the unit is constant
};

Units units_of(const Path& path, const Linear& linear) {
  const NormedRows z = normed_rows(path);
  at::Tensor map = map_of_norm(path, linear);
  if (z.centred > 0) map = map - map.mean(1, /*keepdim=*/true);
  const at::Tensor deviation = at::linalg_vector_norm(map, 2, 1).mul_(std::sqrt(z.share));
  return {.mean = mean_of_linear(path, linear),
          .deviation = deviation,
          .directions = map * reciprocal_or_zero(deviation).mul_(std::sqrt(z.share)).unsqueeze(1)};
}

/// What x = act(u) v of a unit is by orders, u along the direction a and v along b; without a gate v = 1.
struct Orders {
  at::Tensor mean, square;   ///< E x, E x^2, [units]
  at::Tensor along, beside;  ///< [units]: the expected gradient is along a + beside b
  /// [units]: the expected second derivatives over the root of two are bend a a^T + twist (a b^T + b a^T)
  at::Tensor bend, twist;
};

/// By Stein's lemma, E f'(t) = E f(t) t, from the coefficients of act(u) alone: E (v | u) is linear in u.
Orders orders_of(const Units& gate, const Units& up, Activation activation) {
  const Expansion act = expand(gate.mean, gate.deviation, activation);
  const std::vector<at::Tensor>& a = act.coefficients;
  if (!up.mean.defined())
    return {.mean = a.at(0),
            .square = act.squares.at(0),
            .along = a.at(1),
            .beside = {},
            .bend = a.at(2),
            .twist = {}};
  const at::Tensor shared = (gate.directions * up.directions).sum(1).mul_(up.deviation);  // v's slope in t
  const at::Tensor own = (up.deviation.square() - shared.square()).clamp_min_(0);  // v's variance given t
  const at::Tensor& m = up.mean;
  return {.mean = m * a.at(0) + shared * a.at(1),
          .square = act.squares.at(0) * (m.square() + own) + 2 * m * shared * act.squares.at(1) +
                    shared.square() * act.squares.at(2),
          .along = m * a.at(1) + std::sqrt(2.0) * shared * a.at(2),
          .beside = up.deviation * a.at(0),
          .bend = m * a.at(2) + std::sqrt(3.0) * shared * a.at(3),
          .twist = std::sqrt(0.5) * up.deviation * a.at(1)};
}

/// Where some units' second derivatives point, [width, width].
at::Tensor bends(const Units& gate, const Units& up, const Orders& x) {
  const auto some = [](const at::Tensor& of) { return of.slice(0, 0, of.size(0), kUnitsApart); };
  const auto times = [&](const Units& units, const at::Tensor& squares) {
    return some(units.directions) * some(squares).sqrt().unsqueeze(1);
  };
  const at::Tensor twist = x.twist.abs();
  return linalg::gram(at::cat({times(gate, x.bend.square().add(x.twist.square()).sqrt()), times(up, twist)}));
}

/// The same of many units, gated or not.
Moments widely_activated(const Path& path) {
  const Units gate = units_of(path, path.gate);
  const bool gated = path.up.weight.defined();
  const Units up = gated ? units_of(path, path.up) : Units();
  const Orders x = orders_of(gate, up, path.activation);

  at::Tensor gradients = gate.directions * x.along.unsqueeze(1);
  if (gated) gradients.addcmul_(up.directions, x.beside.unsqueeze(1));
  const at::Tensor gram = linalg::gram(gradients);
  gradients = at::Tensor();
  const auto leading = [](const at::Tensor& of, int64_t count, int64_t rounds) {
    return linalg::leading_space(of, count, at::make_generator<at::CPUGeneratorImpl>(kSeed), rounds);
  };
  const at::Tensor first = leading(gram, directions(path.width, x.mean.size(0)), 1);
  at::Tensor order1 = linalg::product(gate.directions, first).mul_(x.along.unsqueeze(1));
  if (gated) order1.addcmul_(linalg::product(up.directions, first), x.beside.unsqueeze(1));
  // A quadratic form in two places among those directions is a sum over pairs of them.
  const int64_t count = paired_directions(gated, path.width);
  const at::Tensor second = gated ? leading(bends(gate, up, x), count, 4) : leading(gram, count, 4),
                   place = linalg::product(gate.directions, second);
  const at::Tensor index =
      at::triu_indices(count, count, 0, at::TensorOptions(at::kLong).device(place.device()));
  const at::Tensor twice = at::where(index[0] == index[1], 1.0, std::sqrt(2.0)).to(at::kFloat);
  const auto pairs_of = [&](const at::Tensor& p, const at::Tensor& q) {
    return p.index_select(1, index[0]) * q.index_select(1, index[1]);
  };
  at::Tensor order2 = pairs_of(place, place).mul_(twice).mul_(x.bend.unsqueeze(1));
  if (gated) {
    const at::Tensor other = linalg::product(up.directions, second);
    order2.add_((pairs_of(place, other) + pairs_of(other, place)).mul_(twice).mul_(x.twist.unsqueeze(1)));
  }

  const at::Tensor rows = at::cat({x.mean.unsqueeze(1), order1, order2}, 1).t().contiguous();
  return {.second = linalg::Moment::with_diagonal(x.square, rows), .mean = x.mean};
}

}  // namespace

int64_t closed_form_rows(Behind behind, int64_t width, int64_t outputs) {
  if (behind == Behind::kNorm) return outputs >= linalg::kSamplesFrom ? 1 : 0;
  const int64_t from = behind == Behind::kActivation ? kManyUnits : linalg::kSamplesFrom;
  const bool gated = behind == Behind::kGatedActivation;
  return outputs >= from ? 1 + directions(width, outputs) + pairs(paired_directions(gated, width)) : 0;
}

Moments closed_form_moments(const Path& path) {
  if (path.values.weight.defined()) {
    Normal values = linear_of_norm(path, path.values);
    values.covariance.mul_(0.5);  // attention averages over positions; of two
    if (path.value_repeats > 1) values = repeat_heads(values, path.value_head, path.value_repeats);
    return moments_of(values);
  }
  if (path.gate.weight.defined()) {
    const Behind behind = path.up.weight.defined() ? Behind::kGatedActivation : Behind::kActivation;
    if (closed_form_rows(behind, path.width, path.outputs()) > 0) return widely_activated(path);
    TORCH_INTERNAL_ASSERT(behind == Behind::kActivation);
    return activated(linear_of_norm(path, path.gate), path.activation);
  }
  TORCH_INTERNAL_ASSERT(path.norm_scale.defined(), "a norm without parameters feeds no layer by itself");
  if (closed_form_rows(Behind::kNorm, path.width, path.norm_scale.size(0)) > 0) return wide_norm_output(path);
  return moments_of(norm_output(path));
}

}  // namespace ctq::calibrate
