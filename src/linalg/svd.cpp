#include "linalg/svd.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <ATen/ATen.h>

#include "linalg/panels.h"

namespace ctq::linalg {
namespace {

at::Tensor orthonormal(const at::Tensor& a) {
  const OneBlasThread one;
  return std::get<0>(at::linalg_qr(a, "reduced"));
}

/// a b in float32 for any float type of a, panel by panel.
at::Tensor float_product(const at::Tensor& a, const at::Tensor& b) {
  if (!a.is_cpu()) return product(a.to(at::kFloat), b);
  at::Tensor result = at::empty({a.size(0), b.size(1)}, b.options());
  for_panels(a.size(0), [&](int64_t row, int64_t rows) {
    at::Tensor panel = result.narrow(0, row, rows);
    at::mm_out(panel, a.narrow(0, row, rows).to(at::kFloat), b);
  });
  return result;
}

/// A basis [n, k] of what a symmetric map turns random vectors to: `rounds` times image(q), orthonormalized.
template <typename Image>
at::Tensor iterated(const Image& image, int64_t n, int64_t k, at::Generator generator, at::Device device,
                    int64_t rounds) {
  at::Tensor q = at::randn({n, k}, std::move(generator), at::TensorOptions(at::kFloat)).to(device);
  for (int64_t i = 0; i < rounds; ++i) q = orthonormal(image(q));
  return q;
}

/// (A^T B + B^T A) / 2 in float64.
at::Tensor symmetric_product(const at::Tensor& a, const at::Tensor& b) {
  const OneBlasThread one;
  const at::Tensor square = at::mm(a.t().to(at::kDouble), b.to(at::kDouble));
  return (square + square.t()).div_(2);
}

/// Of the trace: above the rounding of float32 products.
constexpr double kNystroemShift = 1e-6;

}  // namespace

LowRank thin_svd(const at::Tensor& a, int64_t k) {
  const OneBlasThread one;
  const auto [u, s, vh] = at::linalg_svd(a, /*full_matrices=*/false);
  return {u.narrow(1, 0, k).contiguous(), s.narrow(0, 0, k).contiguous(),
          vh.narrow(0, 0, k).t().contiguous()};
}

LowRank randomized_svd(const at::Tensor& a, int64_t k, at::Generator generator, int64_t oversample,
                       int64_t power_iterations) {
  const int64_t m = a.size(0), n = a.size(1), l = k + oversample;
  if (l >= std::min(m, n)) return thin_svd(a, k);
  const at::Tensor omega =
      at::randn({n, l}, std::move(generator), at::TensorOptions().dtype(at::kFloat)).to(a.options());
  const at::Tensor a_t = a.t();
  at::Tensor q = orthonormal(product(a, omega));
  for (int64_t i = 0; i < power_iterations; ++i) {
    q = orthonormal(product(a_t, q));
    q = orthonormal(product(a, q));
  }
  LowRank projected = thin_svd(product(a_t, q).t(), k);  // of Q^T A, whose U has Q in front
  projected.u = product(q, projected.u);
  return projected;
}

at::Tensor leading_space(const at::Tensor& matrix, int64_t k, at::Generator generator, int64_t rounds) {
  const auto image = [&](const at::Tensor& q) { return product(matrix, product(matrix, q)); };
  return iterated(image, matrix.size(0), k, std::move(generator), matrix.device(), rounds);
}

at::Tensor low_rank_of_gram(const at::Tensor& x, int64_t k, at::Generator generator, int64_t iterations) {
  const at::Tensor x_t = x.t();
  const auto image = [&](const at::Tensor& q) { return float_product(x_t, float_product(x, q)); };
  const at::Tensor q = iterated(image, x.size(1), k, std::move(generator), x.device(), iterations);
  at::Tensor y = image(q);
  const at::Tensor core = symmetric_product(q, y);
  // So that the factor exists where X has a lower rank.
  double shift = kNystroemShift * std::max(core.trace().item<double>(), 1e-30);
  for (; std::isfinite(shift); shift *= 10) {
    const OneBlasThread one;
    const auto [lower, info] = at::linalg_cholesky_ex(core + shift * at::eye(k, core.options()),
                                                      /*upper=*/false, /*check_errors=*/false);
    if (info.item<int>() != 0) continue;
    y.add_(q, shift);
    return product(y, at::linalg_inv(lower).t().to(at::kFloat)).t().contiguous();
  }
  return at::full_like(y.t(), std::numeric_limits<double>::quiet_NaN(), at::MemoryFormat::Contiguous);
}

}  // namespace ctq::linalg
