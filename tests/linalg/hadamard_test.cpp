#include "linalg/hadamard.h"

#include <cmath>
#include <string>

#include <catch2/catch.hpp>

#include "base/error.h"
#include "linalg/golden.h"
#include "linalg/solver_inputs.h"

namespace ctq::linalg {
namespace {

template <typename Run>
ErrorCode code_of_error(const Run& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.code();
  }
  FAIL("no error");
  return ErrorCode::kFailure;
}

TEST_CASE("rotate_columns: the bits of the client's library", "[linalg]") {
  const test::Golden golden("int8_tensorwise");
  for (int group_size : {4, 16, 64, 256}) {
    const std::string name = "rot" + std::to_string(group_size);
    CAPTURE(name);
    CHECK(
        at::equal(rotate_columns(golden["in." + name], group_size), golden["out." + name + ".rotated_f32"]));
  }
}

TEST_CASE("rotate_columns and walsh_hadamard: the matrices of the client's library", "[linalg]") {
  const test::Golden golden("rotations");
  for (int n : {4, 16, 64}) {
    const at::Tensor matrix = rotate_columns(at::eye(n), n);
    CHECK(at::equal(matrix, golden["out.convrot_norm_" + std::to_string(n)]));
    CHECK(at::equal(matrix.sign().to(at::kChar), golden["out.convrot_sign_" + std::to_string(n)]));
  }
  for (int n : {4, 64}) {
    const at::Tensor signs = golden["out.sylvester_sign_" + std::to_string(n)].to(at::kFloat);
    CHECK(at::equal(walsh_hadamard(at::eye(n), 1), signs / std::sqrt(static_cast<float>(n))));
  }
}

TEST_CASE("rotate_columns: rotating twice gives the weight back, inner products stay", "[linalg]") {
  const at::Tensor w = test::normal({8, 1024}, 1, at::kFloat), x = test::normal({5, 1024}, 2, at::kFloat);
  for (int64_t group_size : {4, 64, 256, 1024}) {
    const at::Tensor rotated = rotate_columns(w, group_size);
    CHECK(at::allclose(rotate_columns(rotated, group_size), w, 0, 2e-6));
    CHECK(
        at::allclose(at::matmul(rotate_columns(x, group_size), rotated.t()), at::matmul(x, w.t()), 0, 1e-3));
    CHECK_FALSE(at::allclose(rotated, w));
  }
}

TEST_CASE("rotate_columns: exact for small integers times a power of two, in any type", "[linalg]") {
  const at::Tensor w = (test::normal({7, 512}, 3) * 40).round_() / 1024;
  const at::Tensor regular = rotate_columns(at::eye(256), 256).to(at::kDouble);
  const at::Tensor expected = at::matmul(w.view({7, 2, 256}), regular).view({7, 512}).to(at::kFloat);
  for (at::ScalarType type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16}) {
    CHECK(at::equal(rotate_columns(w.to(type), 256), expected));
  }
  CHECK(at::equal(rotate_columns(w.t().contiguous().t(), 256), expected));
}

TEST_CASE("rotate_columns: same bits for any number of threads, the weight stays as it is", "[linalg]") {
  const at::Tensor w = test::normal({900, 256}, 4, at::kFloat), before = w.clone();
  const auto found = test::with_threads([&] { return rotate_columns(w, 256); });
  for (const at::Tensor& rotated : found) CHECK(test::same_bits(rotated, found[0]));
  CHECK(test::same_bits(w, before));
}

TEST_CASE("rotate_columns: group sizes that do not fit are kUsage", "[linalg]") {
  const at::Tensor w = at::zeros({2, 48});
  for (int64_t group_size : {-4, 0, 1, 2, 3, 8, 12, 32, 64}) {
    CAPTURE(group_size);
    CHECK(code_of_error([&] { rotate_columns(w, group_size); }) == ErrorCode::kUsage);
  }
  CHECK_NOTHROW(rotate_columns(w, 16));
  CHECK(rotate_columns(at::empty({0, 16}), 16).numel() == 0);
}

TEST_CASE("walsh_hadamard: Sylvester's recursion along any dimension", "[linalg]") {
  CHECK(at::equal(walsh_hadamard(at::tensor({3.0f}), 0), at::tensor({3.0f})));
  CHECK(
      at::allclose(walsh_hadamard(at::tensor({1.0f, 2.0f}), 0), at::tensor({3.0f, -1.0f}) / std::sqrt(2.0f)));
  const at::Tensor x = test::normal({3, 8, 5, 32}, 5, at::kFloat);
  for (int64_t dim : {1, 3, -1, -3}) {
    const at::Tensor once = walsh_hadamard(x, dim);
    CHECK(once.sizes() == x.sizes());
    CHECK(at::allclose(walsh_hadamard(once, dim), x, 0, 2e-6));
    CHECK(at::allclose(at::linalg_norm(once), at::linalg_norm(x)));
  }
  CHECK(test::same_bits(walsh_hadamard(x, 1), walsh_hadamard(x.movedim(1, 3), 3).movedim(3, 1)));
  const at::Tensor h4 = walsh_hadamard(at::eye(4), 1), h8 = walsh_hadamard(at::eye(8), 1);
  CHECK(at::allclose(h8, at::kron(walsh_hadamard(at::eye(2), 1), h4)));
}

TEST_CASE("walsh_hadamard: sizes that are no power of two are kUsage", "[linalg]") {
  for (int64_t n : {0, 3, 12, 96}) {
    CHECK(code_of_error([&] { walsh_hadamard(at::zeros({2, n}), 1); }) == ErrorCode::kUsage);
  }
}

}  // namespace
}  // namespace ctq::linalg
