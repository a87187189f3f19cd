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

}  // namespace ctq::linalg
