#include "linalg/cholesky.h"

#include <limits>

#include <catch2/catch.hpp>

#include "linalg/golden.h"
#include "linalg/solver_inputs.h"

namespace ctq::linalg {
namespace {

double largest(const at::Tensor& x) { return x.abs().max().item<double>(); }

at::Tensor rebuilt(const FeedbackFactor& factor) {
  return at::matmul(factor.feedback * factor.pivots, factor.feedback.t());
}

at::Tensor diagonal(std::initializer_list<double> values) {
  return at::diag(at::tensor(std::vector<double>(values), at::kDouble));
}

TEST_CASE("gram: X^T X, symmetric to the bit", "[linalg]") {
  for (int64_t n : {1, 5, 255, 256, 257, 600}) {
    const at::Tensor x = test::normal({37, n}, 1), found = gram(x);
    CAPTURE(n);
    CHECK(largest(found - at::matmul(x.t(), x)) < 1e-12);
    CHECK(test::same_bits(found, found.t()));
  }
  CHECK(gram(at::empty({3, 0})).numel() == 0);
}

TEST_CASE("damped_factor: U D U^T is H + lambda mean(diag H) I", "[linalg]") {
  for (int64_t n : {1, 2, 256, 511, 512, 513, 1100}) {
    const at::Tensor h = test::second_moment(n, n + 10, 1);
    const FeedbackFactor factor = damped_factor(h, 0.03);
    CAPTURE(n);
    REQUIRE(factor.ok);
    CHECK(factor.attempts == 1);
    CHECK(factor.lambda == 0.03);
    const at::Tensor damped = h + 0.03 * h.diagonal().mean() * at::eye(n, at::kDouble);
    CHECK(largest(rebuilt(factor) - damped) < 1e-12 * largest(damped));
    CHECK(at::equal(factor.feedback, factor.feedback.triu()));
    CHECK(largest(factor.feedback.diagonal() - 1) < 1e-15);
  }
}

TEST_CASE("damped_factor: the inverse of U sqrt(D) is GPTQ's upper factor of H^-1", "[linalg]") {
  const at::Tensor h = test::second_moment(40, 80, 2);
  const FeedbackFactor factor = damped_factor(h, 0);
  const at::Tensor ours = at::linalg_inv(factor.feedback * factor.pivots.sqrt());
  const at::Tensor gptq = at::linalg_cholesky(at::linalg_inv(h), /*upper=*/true);
  CHECK(largest(ours - gptq) < 1e-9 * largest(gptq));
}

TEST_CASE("damped_factor: act order is descending diag(H), ties from left to right", "[linalg]") {
  const FeedbackFactor tied = damped_factor(diagonal({1, 3, 1, 3, 2}), 0, ColumnOrder::kActOrder);
  CHECK(at::equal(tied.order, at::tensor({1, 3, 4, 0, 2}, at::kLong)));
  CHECK(at::allclose(tied.pivots, at::tensor({3, 3, 2, 1, 1}, at::kDouble)));
  const at::Tensor h = test::second_moment(300, 400, 3);
  const FeedbackFactor factor = damped_factor(h, 0, ColumnOrder::kActOrder);
  const at::Tensor ordered = h.index_select(0, factor.order).index_select(1, factor.order);
  CHECK(largest(rebuilt(factor) - ordered) < 1e-12 * largest(h));
}

TEST_CASE("damped_factor: dead columns influence nothing, whatever the size of H", "[linalg]") {
  at::Tensor h = test::second_moment(10, 20, 4) * 1e-12;
  for (int64_t dead : {0, 4, 9}) h.select(0, dead).zero_(), h.select(1, dead).zero_();
  const FeedbackFactor factor = damped_factor(h, 0.03);
  REQUIRE(factor.ok);
  CHECK(factor.attempts == 1);
  for (int64_t j = 0; j < 10; ++j) {
    CHECK(factor.dead[j].item<bool>() == (j == 0 || j == 4 || j == 9));
    if (!factor.dead[j].item<bool>()) continue;
    CHECK(largest(factor.feedback.select(1, j)) == 1);
    CHECK(largest(factor.feedback.select(0, j)) == 1);
  }
  const FeedbackFactor nothing = damped_factor(at::zeros({3, 3}), 0.03);
  REQUIRE(nothing.ok);
  CHECK(at::equal(nothing.feedback, at::eye(3)));
}

TEST_CASE("damped_factor: damping grows tenfold up to 1 until it succeeds", "[linalg]") {
  const FeedbackFactor third = damped_factor(diagonal({1, 1, -0.3}), 0.01);  // mean 0.57
  CHECK(third.ok);
  CHECK(third.attempts == 3);
  CHECK(third.lambda == Approx(1));
  const FeedbackFactor from_none = damped_factor(diagonal({1, 1, -0.001}), 0);
  CHECK(from_none.ok);
  CHECK(from_none.attempts == 2);
  CHECK(from_none.lambda == 0.01);
  const FeedbackFactor last = damped_factor(diagonal({1, 1, -0.1}), 0.03);
  CHECK(last.attempts == 2);
  CHECK(last.lambda == Approx(0.3));
}

TEST_CASE("damped_factor: gives up after the strongest damping", "[linalg]") {
  const FeedbackFactor factor = damped_factor(diagonal({1, 1, -1.9}), 0.03);
  CHECK_FALSE(factor.ok);
  CHECK(factor.attempts == 3);
  CHECK(factor.lambda == 1);
  CHECK(damped_factor(diagonal({1, 1, -1.9}), 3).attempts == 1);
  at::Tensor h = test::second_moment(300, 400, 5);
  h[7][290] = std::numeric_limits<double>::quiet_NaN();
  CHECK_FALSE(damped_factor(h, 0.03).ok);
  h[7][290] = std::numeric_limits<double>::infinity();
  CHECK_FALSE(damped_factor(h, 0.03).ok);
}

TEST_CASE("damped_factor: rank-deficient and ill-conditioned moments in float32", "[linalg]") {
  const at::Tensor few = test::second_moment(400, 50, 6);
  const at::Tensor scaled =
      test::second_moment(400, 800, 7) * at::logspace(0, -6, 400).outer(at::logspace(0, -6, 400));
  for (const at::Tensor& h : {few, scaled}) {
    const FeedbackFactor factor = damped_factor(h.to(at::kFloat), 0.01);
    REQUIRE(factor.ok);
    CHECK(factor.attempts == 1);
    const at::Tensor damped = h + 0.01 * h.diagonal().mean() * at::eye(400, at::kDouble);
    CHECK(largest(rebuilt(factor) - damped) < 1e-5 * largest(damped));
  }
}

TEST_CASE("solve: undoes a product with the moment that was factored", "[linalg]") {
  const ColumnOrder order = GENERATE(ColumnOrder::kNatural, ColumnOrder::kActOrder);
  const at::Tensor h = test::second_moment(130, 300, 9), x = test::normal({300, 130}, 10, at::kDouble);
  const FeedbackFactor factor = damped_factor(h, 0.03, order);
  const at::Tensor damped = h + 0.03 * h.diagonal().mean() * at::eye(130, at::kDouble);
  CHECK(largest(solve(factor, x.mm(damped)) - x) < 1e-10);
  const auto solved = test::with_threads([&] { return solve(factor, x); });
  for (size_t i = 1; i < solved.size(); ++i) CHECK(test::same_bits(solved[0], solved[i]));
}

TEST_CASE("gram and damped_factor: same bits for any number of threads", "[linalg]") {
  const at::Tensor x = test::normal({300, 1300}, 8, at::kFloat);
  const auto grams = test::with_threads([&] { return gram(x); });
  const auto factors =
      test::with_threads([&] { return damped_factor(grams[0], 0.03, ColumnOrder::kActOrder).feedback; });
  for (size_t i = 1; i < grams.size(); ++i) {
    CHECK(test::same_bits(grams[0], grams[i]));
    CHECK(test::same_bits(factors[0], factors[i]));
  }
}

}  // namespace
}  // namespace ctq::linalg
