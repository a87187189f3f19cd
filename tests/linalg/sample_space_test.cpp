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
  const at::Tensor h = moment.rows().t().mm(moment.rows()) + at::diag(moment.rest().values());
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
  CHECK(at::equal(moment.by_columns().matrix(), moment.matrix()));
  const at::Tensor q = std::get<0>(at::linalg_qr(test::normal({40, 40}, 8)));
  const auto turn = [&](const at::Tensor& x) { return x.mm(q.t()); };
  CHECK(moment.turned(turn).is_matrix());
  CHECK(at::allclose(moment.turned(turn).matrix(), q.mm(h).mm(q.t()), 1e-12));
  const Moment uniform(at::full({40}, 0.3, at::kDouble), moment.rows());
  CHECK(!uniform.turned(turn).is_matrix());
  CHECK(at::allclose(uniform.turned(turn).matrix(), q.mm(uniform.matrix()).mm(q.t()), 1e-12));

  const at::Tensor error = test::normal({5, 40}, 5);
  CHECK(at::allclose(objective_rows(error, moment), objective_rows(error, h), 1e-10));
  at::Tensor moving = error.clone();
  Pull samples(moment, moving);
  CHECK(at::allclose(samples.columns(4, 11), error.mm(h).narrow(1, 4, 11), 1e-10));
  moving.narrow(1, 2, 9).add_(0.25);
  samples.moved(2, moving.narrow(1, 2, 9) - error.narrow(1, 2, 9));
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
    at::Tensor mapped;
    CHECK(at::equal(found,
                    ldlq_round(w, factor, tiling, Code::kInt8, scale, nullptr, Recursion::kBlocks, &mapped)));
    const at::Tensor rounded_error = found * scale_of_rows(scale, tiling, 0, w.size(0), columns) - w;
    CHECK(at::allclose(mapped, rounded_error.mm(moment.rows().t()), 1e-9, 1e-10));
    CHECK(
        at::equal(ldlq_round(w, factor, tiling, Code::kInt8, scale, nullptr, Recursion::kColumns), expected));
    at::Tensor swept_cost;
    const at::Tensor swept = coordinate_descent(found, w, moment, tiling, Code::kInt8, scale, 2, &swept_cost);
    const at::Tensor error = swept * scale_of_rows(scale, tiling, 0, w.size(0), columns) - w;
    CHECK(at::allclose(swept_cost, objective_rows(error, moment), 1e-9));
    CHECK(at::equal(swept, CoordinateDescent(moment).swept(found, w, tiling, Code::kInt8, scale, 2,
                                                           &swept_cost, mapped)));
    CHECK(at::allclose(swept_cost, objective_rows(error, moment), 1e-9));
    CHECK(at::equal(coordinate_descent(found, w, moment, tiling, Code::kInt8, scale, 2),
                    coordinate_descent(found, w, moment.matrix(), tiling, Code::kInt8, scale, 2)));
  }
}

TEST_CASE("block diagonal: does what the matrix does that it stands for", "[linalg]") {
  const int64_t width = GENERATE(1, 4, 8);
  at::Tensor values = width == 1 ? test::normal({24}, 1) : test::normal({24 / width, width, width}, 1);
  if (width > 1) values = values + values.transpose(1, 2);
  const BlockDiagonal d(values);
  at::Tensor whole = at::zeros({24, 24}, at::kDouble);
  for (int64_t i = 0; i < 24; ++i) {
    for (int64_t j = i / width * width; j < (i / width + 1) * width; ++j)
      whole[i][j] = width == 1 ? values[i] : values[i / width][i % width][j % width];
  }
  CHECK(d.size() == 24);
  CHECK(d.width() == width);
  CHECK(at::equal(d.diagonal(), whole.diagonal()));
  const at::Tensor x = test::normal({5, 24}, 2), shift = test::normal({24}, 3);
  for (const auto& [row, height, column, across] : std::vector<std::array<int64_t, 4>>{
           {0, 24, 0, 24}, {3, 7, 3, 7}, {5, 9, 2, 20}, {0, 4, 8, 8}, {9, 1, 8, 3}}) {
    CAPTURE(row, height, column, across);
    at::Tensor part = at::ones({height, across}, at::kDouble);
    d.add_to(part, row, column);
    CHECK(at::equal(part, whole.narrow(0, row, height).narrow(1, column, across) + 1));
    CHECK(at::allclose(d.product(x, column, across), x.mm(whole).narrow(1, column, across), 1e-12));
  }
  const auto matrix = [](const BlockDiagonal& of) {
    at::Tensor made = at::zeros({24, 24}, at::kDouble);
    of.add_to(made, 0, 0);
    return made;
  };
  CHECK(at::allclose(matrix(d.shifted(shift)), whole + at::diag(shift), 1e-12));
  CHECK(at::allclose(matrix(d.shifted(shift[0])), whole + at::diag(shift[0].expand({24})), 1e-12));
  CHECK(at::allclose(matrix(d.divided(shift)), whole / shift / shift.unsqueeze(1), 1e-12));
  const at::Tensor order = (at::arange(24).reshape({-1, width}).flip(0)).reshape({-1});
  CHECK(at::equal(matrix(d.ordered(order)), whole.index_select(0, order).index_select(1, order)));
}

/// D of blocks, as one that runs of columns were turned of.
Moment turned_by_blocks(const Moment& moment, int64_t block) {
  const at::ScalarType type = moment.diagonal().scalar_type();
  const at::Tensor q = std::get<0>(at::linalg_qr(test::normal({block, block}, 6))).to(type);
  return moment.turned(
      [&](const at::Tensor& x) {
        return x.reshape({-1, block}).mm(q.t()).reshape(x.sizes());
      },
      block);
}

TEST_CASE("sample space: blocks of D", "[linalg]") {
  const auto [columns, samples] = GENERATE(Case{16, 3}, Case{512, 1}, Case{1040, 40});
  const int64_t block = GENERATE(4, 16);
  const auto order = GENERATE(ColumnOrder::kNatural, ColumnOrder::kActOrder);
  CAPTURE(columns, samples, block, static_cast<int>(order));
  const Moment straight = made(columns, samples), moment = turned_by_blocks(straight, block);
  REQUIRE(!moment.is_matrix());
  CHECK(moment.rest().width() == block);
  // What turns blocks turns the matrix.
  CHECK(at::allclose(moment.matrix(), turned_by_blocks(straight.matrix(), block).matrix(), 1e-10, 1e-12));
  const SampleFactor factor = sample_factor(moment, 0.03, order);
  REQUIRE(factor.ok);
  const at::Tensor index = order == ColumnOrder::kActOrder ? factor.order : at::arange(columns);
  const at::Tensor w = test::normal({7, columns}, 1), h = moment.matrix();
  const FeedbackFactor plain = damped_factor(h.index_select(0, index).index_select(1, index), 0.03);
  const Tiling tiling{.rows = 1, .cols = columns};
  const at::Tensor scale = test::absmax_scale(w, tiling, Code::kInt8) * 9;
  at::Tensor cost, mapped;
  const at::Tensor found =
      ldlq_round(w, factor, tiling, Code::kInt8, scale, &cost, Recursion::kBlocks, &mapped);
  CHECK(at::equal(found.index_select(1, index),
                  ldlq_round(w.index_select(1, index), plain, tiling, Code::kInt8, scale)));
  const at::Tensor error = found * scale - w;
  CHECK(at::allclose(objective_rows(error, moment), objective_rows(error, h), 1e-9));
  at::Tensor swept_cost;
  const at::Tensor swept =
      CoordinateDescent(moment).swept(found, w, tiling, Code::kInt8, scale, 2, &swept_cost, mapped);
  CHECK(at::equal(swept, coordinate_descent(found, w, h, tiling, Code::kInt8, scale, 2)));
  CHECK(at::allclose(swept_cost, objective_rows(swept * scale - w, moment), 1e-9));
}

TEST_CASE("sample space: in float32 as good as the plain recursion", "[linalg]") {
  const int64_t samples = GENERATE(3, 200, 900);
  const Moment exact = made(1300, samples);
  const Moment moment(exact.rest().values().to(at::kFloat), exact.rows().to(at::kFloat));
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

TEST_CASE("moment: of its rows the leading part, and the diagonal as it is", "[linalg]") {
  const at::Tensor falling = at::exp2(at::arange(40, at::kFloat).neg());
  const at::Tensor rows =
      (test::normal({40, 200}, 3, at::kFloat) * falling.unsqueeze(1)).index_select(0, at::randperm(40));
  const bool blocks = GENERATE(false, true);
  Moment moment(test::normal({200}, 4, at::kFloat).abs(), rows);
  if (blocks) moment = turned_by_blocks(moment, 4);
  const Moment part = moment.leading(12);
  CHECK(part.rows().size(0) == 12);
  CHECK(part.rest().width() == moment.rest().width());
  CHECK(at::allclose(part.diagonal(), moment.diagonal(), 1e-3, 1e-3));
  CHECK(((part.matrix() - moment.matrix()).norm() / moment.matrix().norm()).item<double>() < 1e-3);
  CHECK(at::equal(moment.leading(40).matrix(), moment.matrix()));
  CHECK(Moment(moment.matrix()).leading(3).is_matrix());
}

TEST_CASE("sample space: the same bits for any number of threads", "[linalg]") {
  const Moment exact = made(1300, 150);
  const Moment moment(exact.rest().values().to(at::kFloat), exact.rows().to(at::kFloat));
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
