#include "linalg/bf16.h"

#include <ATen/ATen.h>
#include <catch2/catch.hpp>

#include "linalg/panels.h"

namespace ctq::linalg {

TEST_CASE("bf16: a product of BF16 operands is within their rounding", "[linalg]") {
  at::manual_seed(1);
  const at::Tensor a = at::randn({70, 300}), b = at::randn({300, 40});
  const at::Tensor exact = at::mm(a.to(at::kDouble), b.to(at::kDouble)), found = bf16_product(a, b);
  CHECK(found.scalar_type() == at::kFloat);
  const double error = ((found - exact).norm() / exact.norm()).item<double>();
  CHECK(error < 1.0 / 256);
  CHECK(error > 1e-4);  // it did round
  // Half of the 8 bits' last one, of each operand.
  const at::Tensor bound = at::mm(a.abs().to(at::kDouble), b.abs().to(at::kDouble)) / 250;
  CHECK(((found - exact).abs() <= bound).all().item<bool>());
  CHECK(at::equal(rounded_to_bf16(a), a.to(at::kBFloat16).to(at::kFloat)));
}

TEST_CASE("bf16: never on the CPU", "[linalg]") {
  set_bf16_compute({.product = 0, .hadamard = 0, .hessian = 0});
  const at::Tensor a = at::randn({64, 64});
  CHECK_FALSE(has_bf16(at::kCPU));
  for (const auto operation : {Bf16Operation::kProduct, Bf16Operation::kHadamard, Bf16Operation::kHessian})
    CHECK_FALSE(uses_bf16(operation, 1e12, a));
  CHECK(at::allclose(product(a, a), at::mm(a, a), 1e-5, 1e-5));
  set_bf16_compute({});
}

TEST_CASE("bf16: thresholds decide by operation on a GPU", "[linalg][cuda]") {
  if (!at::hasCUDA()) {
    WARN("[skipped] no GPU");
    return;
  }
  const at::Tensor x = at::randn({2048, 1024}, at::TensorOptions(at::kCUDA));
  if (!has_bf16(x.device())) {
    WARN("[skipped] no BF16 on this GPU");
    return;
  }
  set_bf16_compute({.product = 1'000'000, .hadamard = Bf16Compute::kNever, .hessian = 0});
  CHECK(uses_bf16(Bf16Operation::kProduct, 1e6, x));
  CHECK_FALSE(uses_bf16(Bf16Operation::kProduct, 999'999, x));
  CHECK(product_uses_bf16(x, x.narrow(0, 0, 1).t()));  // the larger operand decides
  CHECK_FALSE(product_uses_bf16(x.narrow(0, 0, 900), x.narrow(0, 0, 900).t()));
  CHECK_FALSE(uses_bf16(Bf16Operation::kHadamard, 1e12, x));
  CHECK_FALSE(uses_bf16(Bf16Operation::kHessian, 1e12, x.to(at::kDouble)));
  const at::Tensor exact = x.to(at::kDouble).t().mm(x.to(at::kDouble));
  const double error = ((product(x.t(), x) - exact).norm() / exact.norm()).item<double>();
  CHECK(error < 1.0 / 256);
  set_bf16_compute({});
}

}  // namespace ctq::linalg
