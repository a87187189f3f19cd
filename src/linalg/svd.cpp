#include "linalg/svd.h"

#include <algorithm>
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

LeadingEigen leading_of_gram(const at::Tensor& x, int64_t k, at::Generator generator, int64_t iterations) {
  const at::Tensor x_t = x.t();
  at::Tensor q =
      at::randn({x.size(1), k}, std::move(generator), at::TensorOptions(at::kFloat)).to(x.device());
  for (int64_t i = 0; i < iterations; ++i) q = orthonormal(float_product(x_t, float_product(x, q)));
  const at::Tensor images = float_product(x, q);
  const OneBlasThread one;
  const auto [values, turn] = at::linalg_eigh(at::mm(images.t(), images));
  return {.values = values.clamp_min(0), .vectors = product(q, turn)};
}

}  // namespace ctq::linalg
