#include "calibrate/input_rows.h"

#include <catch2/catch.hpp>

#include <ATen/ATen.h>

#include "linalg/device.h"

namespace ctq::calibrate {
namespace {

at::Tensor normal(int64_t rows, int64_t columns, uint64_t seed = 1) {
  at::manual_seed(seed);
  return at::randn({rows, columns});
}

}  // namespace

TEST_CASE("input rows: equal rows are one, with the sum of their counts", "[calibrate]") {
  const at::Tensor rows = normal(6, 16).to(at::kBFloat16);
  const at::Tensor order = at::tensor({0, 1, 0, 2, 3, 0, 4, 5, 1}, at::kLong);
  const InputRows once = distinct_rows(rows, {}, at::kCPU);
  const InputRows again = distinct_rows(rows.index_select(0, order), {}, at::kCPU);
  CHECK(at::equal(again.rows, once.rows));
  CHECK(at::equal(again.counts, at::tensor({3.0f, 2.0f, 1.0f, 1.0f, 1.0f, 1.0f})));
  CHECK(again.group_count == 6);
  // What is seen more often weighs more.
  const at::Tensor all = rows.index_select(0, order).to(at::kFloat);
  CHECK(at::allclose(second_moment(again), all.t().mm(all) / 9, 1e-4, 1e-5));
  CHECK(at::allclose(mean_of(again), all.mean(0), 1e-4, 1e-5));
  const at::Tensor counts = at::tensor({3, 2, 1, 1, 1, 1}, at::kLong);
  CHECK(at::allclose(mean_square_of(rows, counts), all.square().mean(0), 1e-4, 1e-5));
  CHECK(at::allclose(mean_square_of(all, {}), all.square().mean(0), 1e-4, 1e-5));
  const InputRows counted = distinct_rows(rows, {.counts = counts, .pictures = {}, .steps = {}}, at::kCPU);
  CHECK(at::equal(counted.counts, again.counts));
}

TEST_CASE("input rows: the whole standing sixteen times says no more than once", "[calibrate]") {
  const at::Tensor rows = normal(40, 16);
  const InputRows once = distinct_rows(rows, {}, at::kCPU),
                  often = distinct_rows(rows.repeat({16, 1}), {}, at::kCPU);
  CHECK(at::equal(often.rows, once.rows));
  CHECK(at::equal(often.groups, once.groups));
  CHECK(at::allclose(second_moment(often), second_moment(once), 1e-6, 1e-7));
}

TEST_CASE("input rows: few of wide inputs stay rows", "[calibrate]") {
  const at::Tensor rows = normal(30, 1100);
  const at::Tensor order = at::tensor({0, 1, 0, 2, 0}, at::kLong);
  const InputRows few = distinct_rows(rows, {}, at::kCPU),
                  repeated = distinct_rows(at::cat({rows, rows.index_select(0, order)}), {}, at::kCPU),
                  many = distinct_rows(normal(600, 1100), {}, at::kCPU);
  CHECK_FALSE(input_moment(few).is_matrix());
  CHECK(input_moment(many).is_matrix());
  CHECK(input_moment(many, at::arange(20)).is_matrix());  // the form is that of all
  for (const InputRows* of : {&few, &repeated, &many}) {
    const at::Tensor index = at::arange(7);
    CHECK(at::allclose(input_moment(*of).matrix(), second_moment(*of), 1e-4, 1e-5));
    CHECK(at::allclose(input_moment(*of, index).matrix(), second_moment(*of, index), 1e-4, 1e-5));
    CHECK(effective_rank(input_moment(*of)) == Approx(effective_rank(second_moment(*of))).epsilon(1e-3));
  }
}

TEST_CASE("input rows: what a sample lacks of the diagonal of all is added", "[calibrate]") {
  const at::Tensor rows = normal(400, 1100);
  const int64_t count = GENERATE(30, 400);
  const InputRows some = distinct_rows(rows.narrow(0, 0, count), {}, at::kCPU);
  const linalg::Moment sample = input_moment(some), whole = completed(sample, mean_square_of(rows, {}));
  CHECK(sample.is_matrix() == whole.is_matrix());
  const at::Tensor expected = at::maximum(sample.diagonal(), mean_square_of(rows, {}));
  CHECK(at::allclose(whole.diagonal(), expected, 1e-4, 1e-5));
  const at::Tensor added = whole.matrix() - sample.matrix();
  CHECK(at::allclose(added, at::diag(added.diagonal()), 0, 1e-5));
  CHECK((added.diagonal().max().item<double>() > 0.1) == (count == 30));
  CHECK(at::equal(completed(sample, {}).matrix(), sample.matrix()));
}

TEST_CASE("input rows: groups are pictures, else steps, else near-equal rows", "[calibrate]") {
  const at::Tensor rows = normal(24, 32);
  const auto groups_of = [&](const at::Tensor& pictures, const at::Tensor& steps) {
    return distinct_rows(rows, {.counts = {}, .pictures = pictures, .steps = steps}, at::kCPU);
  };
  const at::Tensor number = at::arange(24), none = at::zeros({24}, at::kLong);
  const InputRows pictures = groups_of(number.floor_divide(6) + 7, number.remainder(6));
  CHECK(pictures.group_count == 4);
  CHECK(at::equal(pictures.groups, number.floor_divide(6)));
  CHECK(groups_of(none, number.remainder(6)).group_count == 6);
  CHECK(at::equal(groups_of(30 - number.floor_divide(6), none).groups, 3 - number.floor_divide(6)));
  // Nearly all rows in one picture: what was seen first there, as time steps are.
  at::Tensor lopsided = none.clone();
  lopsided[3] = 1;
  CHECK(groups_of(lopsided, number.remainder(6)).group_count == 6);
  CHECK(groups_of(none, none).group_count == 24);

  const at::Tensor near = at::cat({rows, rows * 1.001 + 1e-4 * normal(24, 32, 2)});
  const InputRows clustered = distinct_rows(near, {}, at::kCPU);
  CHECK(clustered.rows.size(0) == 48);
  CHECK(clustered.group_count == 24);
  CHECK(at::equal(clustered.groups.narrow(0, 0, 24), clustered.groups.narrow(0, 24, 24)));
}

TEST_CASE("input rows: what later pictures still show that is new", "[calibrate]") {
  const at::Tensor rows = normal(20, 8);
  const auto of = [&](const std::vector<int64_t>& pictures) {
    const at::Tensor first = at::tensor(pictures, at::kLong);
    return distinct_rows(rows.narrow(0, 0, first.size(0)), {.counts = {}, .pictures = first, .steps = {}},
                         at::kCPU);
  };
  CHECK(novelty(of({0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2})) == 1);
  // Tokens: four in the first picture, then two, one, one.
  CHECK(novelty(of({0, 0, 0, 0, 1, 1, 2, 3})) == Approx(0.25));
  CHECK(novelty(distinct_rows(rows, {}, at::kCPU)) == 1);
  // Rows of a file are in random order.
  CHECK(novelty(of({3, 1, 0, 2, 0, 1, 0, 0})) == Approx(0.25));
}

TEST_CASE("input rows: whole groups are held back, each once at most", "[calibrate]") {
  const at::Tensor rows = normal(60, 8), pictures = at::arange(60).remainder(12);
  const InputRows input = distinct_rows(rows, {.counts = {}, .pictures = pictures, .steps = {}}, at::kCPU);
  const auto sets = held_back_sets(input, /*one_of=*/4, /*most=*/2);
  REQUIRE(sets.size() == 2);
  for (const at::Tensor& set : sets) {
    CHECK(set.size(0) == 15);
    const at::Tensor others = all_but(input, set);
    CHECK(others.size(0) == 45);
    const at::Tensor here = pictures.index_select(0, set), there = pictures.index_select(0, others);
    CHECK_FALSE(at::isin(here, there).any().item<bool>());
  }
  CHECK_FALSE(at::isin(sets[0], sets[1]).any().item<bool>());
  CHECK(held_back_sets(input, 100, 99).size() == 12);
  const InputRows single = distinct_rows(rows.narrow(0, 0, 1), {}, at::kCPU);
  CHECK(held_back_sets(single, 4, 2).empty());
}

TEST_CASE("input rows: the effective rank counts directions", "[calibrate]") {
  CHECK(effective_rank(at::eye(16)) == Approx(16));
  const at::Tensor x = normal(1, 16);
  CHECK(effective_rank(x.t().mm(x)) == Approx(1));
  at::Tensor uneven = at::eye(4);
  uneven[0][0] = 3;
  CHECK(effective_rank(uneven) == Approx(36.0 / 12));
  CHECK(effective_rank(at::zeros({4, 4})) == 0);
  InputRows many;
  many.rows = at::randn({700, 300});
  many.counts = at::ones({700});
  linalg::set_threads(1);
  const at::Tensor moment = many.rows.t().mm(many.rows);
  const double one = effective_rank(many), of_moment = effective_rank(moment);
  for (const int threads : {2, 3}) {
    linalg::set_threads(threads);
    CHECK(effective_rank(many) == one);
    CHECK(effective_rank(moment) == of_moment);
  }
  linalg::set_threads(linalg::available_cores());
}

}  // namespace ctq::calibrate
