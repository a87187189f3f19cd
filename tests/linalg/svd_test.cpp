#include "linalg/svd.h"

#include <tuple>

#include <catch2/catch.hpp>

#include "linalg/golden.h"
#include "linalg/solver_inputs.h"

namespace ctq::linalg {
namespace {

at::Generator seeded(uint64_t seed) { return at::make_generator<at::CPUGeneratorImpl>(seed); }

/// Singular values 1, r, r^2, ..
at::Tensor decaying(int64_t m, int64_t n, double ratio) {
  const int64_t k = std::min(m, n);
  const at::Tensor u = std::get<0>(at::linalg_qr(test::normal({m, k}, 1)));
  const at::Tensor v = std::get<0>(at::linalg_qr(test::normal({n, k}, 2)));
  return at::matmul(u * at::pow(ratio, at::arange(k, at::kDouble)), v.t());
}

double largest(const at::Tensor& x) { return x.abs().max().item<double>(); }
at::Tensor projector(const at::Tensor& v) { return at::matmul(v, v.t()); }

TEST_CASE("randomized_svd: values and subspaces of the full decomposition", "[linalg]") {
  for (const auto& [m, n] : {std::pair{120, 80}, std::pair{80, 120}, std::pair{300, 300}}) {
    const at::Tensor a = decaying(m, n, 0.8);
    const auto [u, s, vh] = at::linalg_svd(a, /*full_matrices=*/false);
    for (int64_t k : {1, 10, 30}) {
      CAPTURE(m, n, k);
      for (const LowRank& found : {randomized_svd(a, k, seeded(3)), thin_svd(a, k)}) {
        CHECK(found.u.sizes() == at::IntArrayRef({m, k}));
        CHECK(found.s.sizes() == at::IntArrayRef({k}));
        CHECK(found.v.sizes() == at::IntArrayRef({n, k}));
        CHECK(at::allclose(found.s, s.narrow(0, 0, k), 1e-9));
        CHECK(largest(projector(found.v) - projector(vh.narrow(0, 0, k).t())) < 1e-6);
        CHECK(largest(projector(found.u) - projector(u.narrow(1, 0, k))) < 1e-6);
        CHECK(largest(at::matmul(found.v.t(), found.v) - at::eye(k, at::kDouble)) < 1e-12);
        const double error = at::linalg_norm(a - at::matmul(found.u * found.s, found.v.t())).item<double>();
        CHECK(error < 1.0001 * at::linalg_norm(s.narrow(0, k, s.size(0) - k)).item<double>());
      }
    }
  }
}

TEST_CASE("randomized_svd: float32, singular values that fall below its precision", "[linalg]") {
  const at::Tensor a = decaying(200, 150, 0.5), found_v = randomized_svd(a.to(at::kFloat), 8, seeded(4)).v;
  const at::Tensor v = std::get<2>(at::linalg_svd(a, false)).narrow(0, 0, 8).t();
  CHECK(found_v.scalar_type() == at::kFloat);
  CHECK(largest(projector(found_v.to(at::kDouble)) - projector(v)) < 1e-4);
}

TEST_CASE("randomized_svd: slow decay still comes within a percent of the best error", "[linalg]") {
  const at::Tensor a = test::normal({200, 160}, 5);
  const at::Tensor s = std::get<1>(at::linalg_svd(a, false));
  const LowRank found = randomized_svd(a, 40, seeded(6));
  const double best = at::linalg_norm(s.narrow(0, 40, 120)).item<double>();
  CHECK(at::linalg_norm(a - at::matmul(found.u * found.s, found.v.t())).item<double>() < 1.01 * best);
}

TEST_CASE("randomized_svd: rank up to the smaller side, and less rank than asked for", "[linalg]") {
  const at::Tensor a = test::normal({30, 20}, 7);
  const LowRank all = randomized_svd(a, 20, seeded(8));
  CHECK(at::allclose(at::matmul(all.u * all.s, all.v.t()), a, 0, 1e-12));
  const at::Tensor two = at::matmul(test::normal({50, 2}, 9), test::normal({2, 60}, 10));
  const LowRank found = randomized_svd(two, 10, seeded(11));
  CHECK(at::allclose(at::matmul(found.u * found.s, found.v.t()), two, 0, 1e-10));
  CHECK(largest(found.s.narrow(0, 2, 8)) < 1e-10);
  CHECK(randomized_svd(at::zeros({40, 40}), 5, seeded(12)).v.isfinite().all().item<bool>());
}

TEST_CASE("randomized_svd: the seed decides the bits, the number of threads does not", "[linalg]") {
  const at::Tensor a = test::normal({600, 500}, 13, at::kFloat);
  const auto found = test::with_threads([&] { return randomized_svd(a, 60, seeded(14)); });
  const auto full = test::with_threads([&] { return thin_svd(a, 60); });
  for (size_t i = 1; i < found.size(); ++i) {
    CHECK(test::same_bits(found[0].u, found[i].u));
    CHECK(test::same_bits(found[0].s, found[i].s));
    CHECK(test::same_bits(found[0].v, found[i].v));
    CHECK(test::same_bits(full[0].v, full[i].v));
  }
  CHECK_FALSE(test::same_bits(found[0].v, randomized_svd(a, 60, seeded(15)).v));
}

}  // namespace
}  // namespace ctq::linalg
