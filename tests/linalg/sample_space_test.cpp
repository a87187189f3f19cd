#include "linalg/sample_space.h"

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include <ATen/CPUGeneratorImpl.h>
#include <catch2/catch.hpp>

#include "linalg/coordinate_descent.h"
#include "linalg/golden.h"
#include "linalg/objective.h"
#include "linalg/reference.h"
#include "linalg/rounding_block.h"
#include "linalg/solver_inputs.h"
#include "linalg/svd.h"

namespace ctq::linalg {
namespace {

/// D + X^T X with what makes it hard: rows that stand twice, rows of zeros, columns that no row touches.
Moment made(int64_t columns, int64_t samples, bool dead = false) {
  at::Tensor rows = test::normal({samples, columns}, 3).mul(0.7);
  if (samples > 3) rows[1].copy_(rows[0]), rows[2].zero_();
  at::Tensor rest = test::normal({columns}, 4).abs().add(0.05);
  if (dead) {
    for (const int64_t column : {int64_t{0}, columns / 2, columns - 1})
      rest[column].zero_(), rows.select(1, column).zero_();
  }
  return {rest, rows};
}

struct Case {
  int64_t columns, samples;
};

}  // namespace

TEST_CASE("moment: D + X^T X is the matrix it stands for", "[linalg]") {
  const Moment moment = made(40, 7);
  const at::Tensor h = moment.rows().t().mm(moment.rows()) + at::diag(moment.rest());
  CHECK(at::allclose(moment.matrix(), h, 1e-12));
  CHECK(at::allclose(moment.diagonal(), h.diagonal(), 1e-12));
  for (const auto& [row, height, column, width] : std::vector<std::array<int64_t, 4>>{
           {0, 40, 0, 40}, {3, 5, 3, 5}, {3, 9, 6, 2}, {6, 2, 3, 9}, {0, 4, 4, 4}, {10, 20, 5, 10}})
    CHECK(at::allclose(moment.block(row, height, column, width),
                       h.narrow(0, row, height).narrow(1, column, width), 1e-12));
  const at::Tensor shift = at::tensor(0.5, at::kDouble), by = test::normal({40}, 9).abs().add(0.1);
  CHECK(at::allclose(moment.shifted(shift).matrix(), h + 0.5 * at::eye(40, at::kDouble), 1e-12));
  CHECK(at::allclose(Moment(h).shifted(shift).matrix(), moment.shifted(shift).matrix(), 1e-12));
  CHECK(at::allclose(moment.divided(by).matrix(), h / by / by.unsqueeze(1), 1e-12));
  CHECK(at::allclose(Moment(h).divided(by).matrix(), moment.divided(by).matrix(), 1e-12));

  const at::Tensor error = test::normal({5, 40}, 5);
  CHECK(at::allclose(objective_rows(error, moment), objective_rows(error, h), 1e-10));
  at::Tensor moving = error.clone();
  Pull samples(moment, moving);
  CHECK(at::allclose(samples.columns(4, 11), error.mm(h).narrow(1, 4, 11), 1e-10));
  moving.narrow(1, 2, 9).add_(0.25);
  samples.moved(2, 9, error.narrow(1, 2, 9));
  CHECK(at::allclose(samples.columns(0, 40), moving.mm(h), 1e-10));
}

TEST_CASE("sample space: the codes and costs of the plain recursion", "[linalg]") {
  const auto [columns, samples] =
      GENERATE(Case{1, 1}, Case{5, 1}, Case{5, 4}, Case{5, 9}, Case{300, 1}, Case{300, 299}, Case{300, 300},
               Case{512, 40}, Case{513, 40}, Case{1100, 1}, Case{1100, 130}, Case{1100, 1200});
  const auto order = GENERATE(ColumnOrder::kNatural, ColumnOrder::kActOrder);
  const bool dead = GENERATE(false, true);
  CAPTURE(columns, samples, dead, static_cast<int>(order));
  if (dead && columns < 5) return;
  const Moment moment = made(columns, samples, dead);
  const at::Tensor w = test::normal({7, columns}, 1);
  const FeedbackFactor plain = damped_factor(moment.matrix(), 0.03, order);
  const SampleFactor factor = sample_factor(moment, 0.03, order);
  REQUIRE(factor.ok);
  CHECK(factor.lambda == 0.03);
  for (const Tiling tiling : {Tiling{.rows = 1, .cols = columns}, Tiling{.rows = 1, .cols = 16}}) {
    const at::Tensor scale = test::absmax_scale(w, tiling, Code::kInt8) * 9;
    at::Tensor cost, plain_cost;
    const at::Tensor found = ldlq_round(w, factor, tiling, Code::kInt8, scale, &cost);
    const at::Tensor expected = ldlq_round(w, plain, tiling, Code::kInt8, scale, &plain_cost);
    CHECK(at::equal(found, expected));
    CHECK(at::allclose(cost, plain_cost, 1e-7));
    CHECK(at::equal(found, ldlq_round(w, factor, tiling, Code::kInt8, scale)));
    CHECK(
        at::equal(ldlq_round(w, factor, tiling, Code::kInt8, scale, nullptr, Recursion::kColumns), expected));
    at::Tensor swept_cost;
    const at::Tensor swept = coordinate_descent(found, w, moment, tiling, Code::kInt8, scale, 2, &swept_cost);
    const at::Tensor error = swept * scale_of_rows(scale, tiling, 0, w.size(0), columns) - w;
    CHECK(at::allclose(swept_cost, objective_rows(error, moment), 1e-9));
    CHECK(at::equal(coordinate_descent(found, w, moment, tiling, Code::kInt8, scale, 2),
                    coordinate_descent(found, w, moment.matrix(), tiling, Code::kInt8, scale, 2)));
  }
}

TEST_CASE("sample space: in float32 as good as the plain recursion", "[linalg]") {
  const int64_t samples = GENERATE(3, 200, 900);
  const Moment exact = made(1300, samples);
  const Moment moment(exact.rest().to(at::kFloat), exact.rows().to(at::kFloat));
  const at::Tensor w = test::normal({64, 1300}, 1).to(at::kFloat);
  const Tiling tiling{.rows = 1, .cols = 1300};
  const at::Tensor scale = test::absmax_scale(w, tiling, Code::kInt8) * 9;
  const auto objective = [&](const at::Tensor& values) {
    return objective_rows((values * scale - w).to(at::kDouble), exact).sum().item<double>();
  };
  const at::Tensor found = ldlq_round(w, sample_factor(moment, 0.01), tiling, Code::kInt8, scale);
  const at::Tensor plain = ldlq_round(w, damped_factor(moment.matrix(), 0.01), tiling, Code::kInt8, scale);
  const at::Tensor nearest = (w / scale).round();
  CHECK((found == plain).to(at::kDouble).mean().item<double>() > 0.98);
  CHECK(objective(found) == Approx(objective(plain)).epsilon(1e-3));
  CHECK(objective(found) < 0.9 * objective(nearest));
}

TEST_CASE("sample space: the same bits for any number of threads", "[linalg]") {
  const Moment exact = made(1300, 150);
  const Moment moment(exact.rest().to(at::kFloat), exact.rows().to(at::kFloat));
  const at::Tensor w = test::normal({700, 1300}, 1).to(at::kFloat);
  const Tiling tiling{.rows = 1, .cols = 1300};
  const at::Tensor scale = test::absmax_scale(w, tiling, Code::kInt8) * 9;
  const auto found = test::with_threads([&] {
    const at::Tensor values =
        ldlq_round(w, sample_factor(moment, 0.01, ColumnOrder::kActOrder), tiling, Code::kInt8, scale);
    return coordinate_descent(values, w, moment, tiling, Code::kInt8, scale, 1);
  });
  for (const at::Tensor& other : found) CHECK(test::same_bits(other, found.front()));
  const auto rows = test::with_threads(
      [&] { return low_rank_of_gram(w, 20, at::make_generator<at::CPUGeneratorImpl>(1)); });
  for (const at::Tensor& other : rows) CHECK(test::same_bits(other, rows.front()));
}

TEST_CASE("svd: a part of low rank of X^T X", "[linalg]") {
  const at::Tensor u = std::get<0>(at::linalg_qr(test::normal({90, 60}, 1)));
  const at::Tensor v = std::get<0>(at::linalg_qr(test::normal({60, 60}, 2)));
  const at::Tensor s = at::exp2(at::arange(60, at::kDouble).neg());
  const at::Tensor x = (u * s).mm(v.t()).to(at::kFloat);
  const auto type = GENERATE(at::kFloat, at::kBFloat16);
  const at::Tensor given = x.to(type);
  const at::Tensor found = low_rank_of_gram(given, 8, at::make_generator<at::CPUGeneratorImpl>(3));
  CHECK(found.sizes() == at::IntArrayRef({8, 60}));
  const at::Tensor whole = given.to(at::kDouble).t().mm(given.to(at::kDouble));
  const at::Tensor left = whole - found.to(at::kDouble).t().mm(found.to(at::kDouble));
  // What the best of rank 8 leaves is 4^-8 of the largest eigenvalue, rounding to bfloat16 some 1e-5.
  const at::Tensor eigenvalues = at::linalg_eigvalsh(left);
  CHECK(eigenvalues.max().item<double>() < (type == at::kFloat ? 3 * std::exp2(-16) : 3e-5));
  CHECK(eigenvalues.min().item<double>() > -1e-5);
}

TEST_CASE("svd: of an X beyond float32 there is no part", "[linalg]") {
  const double largest = GENERATE(1e20, std::numeric_limits<double>::infinity());
  at::Tensor x = test::normal({300, 64}, 1).to(at::kFloat);
  x[7][9] = largest;
  const at::Tensor found = low_rank_of_gram(x, 16, at::make_generator<at::CPUGeneratorImpl>(3));
  CHECK(found.sizes() == at::IntArrayRef({16, 64}));
  CHECK_FALSE(found.isfinite().all().item<bool>());
}

TEST_CASE("svd: of an X of low rank, or none, the part is X^T X", "[linalg]") {
  const int64_t rank = GENERATE(0, 1, 5, 16);
  const at::Tensor x = test::normal({300, rank}, 1).mm(test::normal({rank, 64}, 2)).to(at::kFloat);
  const at::Tensor found = low_rank_of_gram(x, 16, at::make_generator<at::CPUGeneratorImpl>(3));
  const at::Tensor whole = x.t().mm(x);
  REQUIRE(found.isfinite().all().item<bool>());
  CHECK((found.t().mm(found) - whole).abs().max().item<double>() <=
        1e-4 * whole.diagonal().max().item<double>() + 1e-20);
}

}  // namespace ctq::linalg
