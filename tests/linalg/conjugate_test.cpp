#include "linalg/conjugate.h"

#include <ATen/ATen.h>
#include <catch2/catch.hpp>

#include "linalg/cholesky.h"
#include "linalg/solver_inputs.h"

namespace ctq::linalg {
namespace {

TEST_CASE("conjugate: the second moment of inputs that were turned", "[linalg]") {
  const int64_t size = GENERATE(1, 7, 1030);
  const at::Tensor x = test::normal({40, size}, 1, at::kFloat), q = test::normal({size, size}, 2, at::kFloat);
  const at::Tensor turned = conjugate(gram(x), [&](const at::Tensor& rows) { return rows.mm(q.t()); });
  const at::Tensor expected = gram(x.mm(q.t()));
  CHECK((turned - expected).abs().max().item<float>() < 1e-4f * expected.abs().max().item<float>());
}

}  // namespace
}  // namespace ctq::linalg
