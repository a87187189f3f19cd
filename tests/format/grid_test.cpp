#include "format/grid.h"

#include <algorithm>

#include <catch2/catch.hpp>

#include <ATen/ATen.h>

#include "linalg/reference.h"

namespace ctq::format {
namespace {

const Grid* const kGrids[] = {&int8_grid(), &e4m3_grid(),   &e5m2_grid(),   &e2m1_grid(),
                              &int4_grid(), &nibble_grid(), &level16_grid()};

TEST_CASE("grid: nearest, below and above are right for every value, midpoint and neighbour", "[format]") {
  for (const Grid* grid : kGrids) {
    std::vector<double> all;
    for (const test::Value& known : test::all_values(grid->code())) all.push_back(known.value);
    const std::vector<float> input = test::values_that_matter(grid->code());
    const at::Tensor u = at::tensor(input);
    const at::Tensor nearest = grid->nearest(u), below = grid->below(u), above = grid->above(u);
    for (size_t i = 0; i < input.size(); ++i) {
      const auto x = static_cast<double>(input[i]);
      const auto next = std::upper_bound(all.begin(), all.end(), x);
      const auto not_less = std::lower_bound(all.begin(), all.end(), x);
      const auto at_i = [&](const at::Tensor& values) {
        return static_cast<double>(values.const_data_ptr<float>()[i]);
      };
      const bool right = at_i(nearest) == test::nearest_value(grid->code(), x).value &&
                         at_i(below) == (next == all.begin() ? all.front() : *(next - 1)) &&
                         at_i(above) == (not_less == all.end() ? all.back() : *not_less);
      if (!right) {
        CAPTURE(grid->name(), x, at_i(nearest), at_i(below), at_i(above));
        CHECK(right);
      }
    }
  }
}

TEST_CASE("grid: values have the codes of the format, and codes their values", "[format]") {
  for (const Grid* grid : kGrids) {
    CAPTURE(grid->name());
    for (const test::Value& known : test::all_values(grid->code())) {
      const at::Tensor value = at::full({1}, known.value, at::kFloat), code = grid->codes(value);
      CHECK(code.scalar_type() == linalg::code_dtype(grid->code()));
      CHECK(code.view(at::kByte).item<uint8_t>() == known.code);
      CHECK(at::equal(grid->values(code), value));
    }
    const at::Tensor negative_zero = grid->codes(at::full({1}, -0.0f));
    CHECK(negative_zero.view(at::kByte).item<uint8_t>() == test::reference_code(grid->code(), -0.0f));
  }
}

TEST_CASE("grid: the largest value is the format's", "[format]") {
  for (const Grid* grid : kGrids) {
    CAPTURE(grid->name());
    const std::vector<test::Value>& all = test::all_values(grid->code());
    CHECK(grid->max_abs() == all.back().value);
    CHECK(grid->min() == all.front().value);
    const double first = all[1].value - all[0].value, last = all.back().value - (all.end() - 2)->value;
    const double middle = all[all.size() / 2].value - all[all.size() / 2 - 1].value;
    CHECK(grid->uniform() == (first == last && first == middle));
  }
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
