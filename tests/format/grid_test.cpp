#include "ctq/format/grid.h"

#include <algorithm>

#include <catch2/catch.hpp>

#include <ATen/ATen.h>

#include "linalg/reference.h"

namespace ctq::format {
namespace {

const Grid* const kGrids[] = {&int8_grid(), &e4m3_grid(), &e5m2_grid()};

/// All values of the grid, increasing.
std::vector<double> all_values(const Grid& grid) {
  const std::vector<double> positive = test::positive_values(grid.code());
  std::vector<double> all(positive);
  for (double value : positive) {
    if (value > 0) all.push_back(-value);
  }
  std::sort(all.begin(), all.end());
  return all;
}

TEST_CASE("grid: nearest, below and above are right for every value, midpoint and neighbour", "[format]") {
  for (const Grid* grid : kGrids) {
    const std::vector<double> positive = test::positive_values(grid->code()), all = all_values(*grid);
    const std::vector<float> input = test::values_that_matter(grid->code());
    const at::Tensor u = at::tensor(input);
    const at::Tensor nearest = grid->nearest(u), below = grid->below(u), above = grid->above(u);
    for (size_t i = 0; i < input.size(); ++i) {
      const float x = input[i];
      const double magnitude = positive[test::nearest_index(positive, std::abs(static_cast<double>(x)))];
      const auto next = std::upper_bound(all.begin(), all.end(), static_cast<double>(x));
      const auto not_less = std::lower_bound(all.begin(), all.end(), static_cast<double>(x));
      const auto at_i = [&](const at::Tensor& values) {
        return static_cast<double>(values.const_data_ptr<float>()[i]);
      };
      const bool right = at_i(nearest) == (x < 0 ? -magnitude : magnitude) &&
                         at_i(below) == (next == all.begin() ? all.front() : *(next - 1)) &&
                         at_i(above) == (not_less == all.end() ? all.back() : *not_less);
      if (!right) {
        CAPTURE(grid->name(), x, at_i(nearest), at_i(below), at_i(above));
        CHECK(right);
      }
    }
  }
}

TEST_CASE("grid: the largest value is the format's", "[format]") {
  for (const Grid* grid : kGrids) CHECK(grid->max_abs() == test::positive_values(grid->code()).back());
  CHECK(e4m3_grid().max_abs() == 448);
  CHECK(e5m2_grid().max_abs() == 57344);
  CHECK(int8_grid().max_abs() == 127);
}

TEST_CASE("grid: inputs keep their values, results their shape", "[format]") {
  const at::Tensor u = at::randn({2, 3, 5}) * 100, copy = u.clone();
  for (const Grid* grid : kGrids) {
    CHECK(grid->nearest(u).sizes() == u.sizes());
    CHECK(grid->below(u.transpose(0, 2)).sizes() == u.transpose(0, 2).sizes());
    CHECK(grid->above(at::empty({0, 4})).sizes() == at::IntArrayRef({0, 4}));
    CHECK(at::equal(u, copy));
  }
}

}  // namespace
}  // namespace ctq::format
