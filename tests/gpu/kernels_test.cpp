// The GPU's kernels, emulated, against the CPU's: the same bits.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include <catch2/catch.hpp>

#include "gpu/emulation.h"
#include "gpu/twins.h"

namespace ctq::linalg {
namespace {

using emulated::Order;
using Numbers = std::vector<float>;

constexpr Code kAllCodes[] = {Code::kInt8, Code::kE4M3,   Code::kE5M2,   Code::kE2M1,
                              Code::kInt4, Code::kNibble, Code::kLevel16};
constexpr Order kOrders[] = {Order::kForward, Order::kBackward, Order::kShuffled};

bool same_bits(const Numbers& a, const Numbers& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

Numbers normal(std::mt19937& random, int64_t count, float scale) {
  std::normal_distribution<float> distribution(0, scale);
  Numbers numbers(static_cast<size_t>(count));
  for (float& x : numbers) x = distribution(random);
  return numbers;
}

/// A step that gives a weight of variance 1 several codes.
float step_of(Code code) { return 2.5f / code_row(code).max; }

/// Of every run of a row one, now and then 0. [rows, cols]
Numbers scales(std::mt19937& random, int64_t rows, int64_t cols, int64_t run, float step) {
  std::uniform_real_distribution<float> uniform(0, 1);
  Numbers numbers(static_cast<size_t>(rows * cols));
  for (int64_t row = 0; row < rows; ++row) {
    float scale = 0;
    for (int64_t col = 0; col < cols; ++col) {
      if (col % run == 0) scale = uniform(random) < 0.03f ? 0.0f : step * (0.5f + uniform(random));
      numbers[static_cast<size_t>(row * cols + col)] = scale;
    }
  }
  return numbers;
}

/// What rounding and refining take and write, [rows, cols] each.
struct Layer {
  int64_t rows, cols;
  Numbers target, weight, scale, coupling, error, values, change, pivots;
  std::vector<double> cost;

  Layer(Code code, int64_t rows_, int64_t cols_, int64_t run, unsigned seed) : rows(rows_), cols(cols_) {
    std::mt19937 random(seed);
    weight = normal(random, rows * cols, 1);
    target = normal(random, rows * cols, 0.1f);
    for (size_t i = 0; i < target.size(); ++i) target[i] += weight[i];
    scale = scales(random, rows, cols, run, step_of(code));
    coupling = normal(random, cols * cols, 0.2f);
    for (int64_t j = 0; j < cols; ++j) coupling[static_cast<size_t>(j * cols + j)] = j % 11 == 3 ? 0 : 1.5f;
    pivots.assign(static_cast<size_t>(cols), 0.7f);
    error.assign(weight.size(), -1);
    values.assign(weight.size(), -1);
    change.assign(weight.size(), -1);
    cost.assign(static_cast<size_t>(rows), 2);
  }

  template <typename T>
  View<T> view(std::vector<float>& numbers) const {
    return {numbers.data(), cols, 1};
  }
  RoundingBlock block() {
    return {rows,
            cols,
            view<const float>(weight),
            view<const float>(scale),
            view<const float>(coupling),
            view<float>(error),
            view<float>(values)};
  }
};

struct Case {
  int64_t rows, cols, run;
};

Case any_case() {
  return GENERATE(Case{1, 1, 1}, Case{31, 7, 7}, Case{32, 64, 16}, Case{33, 100, 100}, Case{70, 128, 16},
                  Case{9, 127, 32}, Case{64, 9, 2});
}

TEST_CASE("emulated: rounding a block") {
  const Case shape = any_case();
  for (const Code code : kAllCodes) {
    CAPTURE(shape.rows, shape.cols, shape.run, code_row(code).name);
    Layer expected(code, shape.rows, shape.cols, shape.run, 5);
    const Layer before = expected;
    twins::round(code, expected.block(), expected.view<const float>(expected.target),
                 {expected.pivots.data(), expected.cost.data()});
    for (const Order order : kOrders) {
      emulated::order() = order;
      Layer found = before;
      const bool costs = order != Order::kForward;
      REQUIRE(ctq_gpu_kernels()->round(code, found.block(), found.view<const float>(found.target),
                                       {costs ? found.pivots.data() : nullptr, found.cost.data()}, {}) == 0);
      CHECK(same_bits(found.values, expected.values));
      CHECK(same_bits(found.error, expected.error));
      for (size_t row = 0; row < found.cost.size(); ++row)
        CHECK(found.cost[row] == Approx(costs ? expected.cost[row] : 2).epsilon(1e-3));
    }
  }
}

TEST_CASE("emulated: refining a block") {
  const Case shape = any_case();
  for (const Code code : kAllCodes) {
    CAPTURE(shape.rows, shape.cols, shape.run, code_row(code).name);
    Layer expected(code, shape.rows, shape.cols, shape.run, 6);
    twins::round(code, expected.block(), expected.view<const float>(expected.weight), {});
    std::mt19937 random(7);
    expected.target = normal(random, shape.rows * shape.cols, 0.5f);  // the gradient
    const Layer before = expected;
    twins::refine(code, expected.block(), expected.view<const float>(expected.target),
                  expected.view<float>(expected.change));
    if (shape.cols > 1) CHECK_FALSE(same_bits(expected.values, before.values));
    for (const Order order : kOrders) {
      emulated::order() = order;
      Layer found = before;
      REQUIRE(ctq_gpu_kernels()->refine(code, found.block(), found.view<const float>(found.target),
                                        found.view<float>(found.change), {}) == 0);
      CHECK(same_bits(found.values, expected.values));
      CHECK(same_bits(found.error, expected.error));
      CHECK(same_bits(found.change, expected.change));
    }
  }
}

TEST_CASE("emulated: searching scales") {
  const Case shape = GENERATE(Case{1, 16, 16}, Case{40, 33, 16}, Case{7, 96, 32}, Case{5, 128, 128},
                              Case{3, 200, 128}, Case{300, 5, 5}, Case{21, 7, 1});
  constexpr int64_t kCandidates = 5;
  const bool weighted = GENERATE(false, true);
  const int64_t across = (shape.cols + shape.run - 1) / shape.run;
  for (const Code code : kAllCodes) {
    CAPTURE(shape.rows, shape.cols, shape.run, weighted, code_row(code).name);
    std::mt19937 random(9);
    const Numbers weight = normal(random, shape.rows * shape.cols, 1);
    Numbers tried = normal(random, kCandidates * shape.rows * across, step_of(code));
    for (float& s : tried) s = s < -2 * step_of(code) ? 0 : std::abs(s) + step_of(code) / 4;
    Numbers metric = normal(random, across * shape.run * shape.run, 0.3f);
    const auto metric_at = [&](int64_t tile, int64_t j, int64_t k) -> float& {
      return metric[static_cast<size_t>((tile * shape.run + j) * shape.run + k)];
    };
    for (int64_t tile = 0; tile < across; ++tile)
      for (int64_t j = 0; j < shape.run; ++j)
        for (int64_t k = 0; k <= j; ++k)
          metric_at(tile, k, j) = metric_at(tile, j, k) = j == k ? 2.0f : metric_at(tile, j, k);
    Numbers expected_scale(static_cast<size_t>(shape.rows * across)), expected_values(weight.size());
    const auto runs = [&](Numbers& scale, Numbers& values) {
      return gpu::SearchRuns{.rows = shape.rows,
                             .cols = shape.cols,
                             .run = shape.run,
                             .candidates = kCandidates,
                             .weight = {weight.data(), shape.cols, 1},
                             .tried = tried.data(),
                             .metric = weighted ? metric.data() : nullptr,
                             .scale = scale.data(),
                             .values = values.data()};
    };
    twins::search(code, runs(expected_scale, expected_values));
    for (const Order order : kOrders) {
      emulated::order() = order;
      Numbers scale(expected_scale.size(), -1), values(weight.size(), -1);
      REQUIRE(ctq_gpu_kernels()->search(code, runs(scale, values), {}) == 0);
      CHECK(same_bits(scale, expected_scale));
      CHECK(same_bits(values, expected_values));
    }
  }
}

struct Shape {
  int64_t rows, cols, tile_rows, tile_cols;
};

/// The whole, rows, runs, squares; some with narrower ones at the edges.
Shape any_tiles() {
  return GENERATE(Shape{1, 1, 1, 1}, Shape{37, 300, 37, 300}, Shape{5, 513, 1, 513}, Shape{3, 96, 1, 16},
                  Shape{3, 100, 1, 32}, Shape{70, 90, 32, 32}, Shape{33, 65, 5, 7}, Shape{2, 600, 1, 128});
}

/// A weight as it lies in memory, and its elements' type.
struct Stored {
  Source source;
  std::vector<std::byte> bytes;
};

Stored stored(Source source, const Numbers& values) {
  Stored result{source, {}};
  const auto append = [&](const auto& x) {
    const auto* const begin = reinterpret_cast<const std::byte*>(&x);
    result.bytes.insert(result.bytes.end(), begin, begin + sizeof x);
  };
  for (const float x : values) {
    const auto bits = std::bit_cast<uint32_t>(x);
    switch (source) {
      case Source::kFloat32: append(x); break;
      case Source::kFloat64: append(double{x} * (1 + 1e-12)); break;
      case Source::kBFloat16: append(static_cast<uint16_t>(bits >> 16)); break;
      case Source::kFloat16:  // any pattern will do
        append(static_cast<uint16_t>(bits >> 12 & 0xBFFF));
        break;
    }
  }
  return result;
}

constexpr Source kAllSources[] = {Source::kFloat32, Source::kFloat16, Source::kBFloat16, Source::kFloat64};

TEST_CASE("emulated: largest magnitudes of tiles") {
  const Shape shape = any_tiles();
  const gpu::Tiles tiles{shape.rows, shape.cols, shape.tile_rows, shape.tile_cols};
  const int64_t count = (shape.rows + shape.tile_rows - 1) / shape.tile_rows *
                        ((shape.cols + shape.tile_cols - 1) / shape.tile_cols);
  const bool infinite = GENERATE(false, true);
  for (const Source source : kAllSources) {
    CAPTURE(shape.rows, shape.cols, shape.tile_rows, shape.tile_cols, infinite, static_cast<int>(source));
    std::mt19937 random(3);
    Numbers values = normal(random, shape.rows * shape.cols, 1);
    if (infinite) values[values.size() / 2] = std::numeric_limits<float>::infinity();
    const Stored weight = stored(source, values);
    std::vector<uint32_t> expected(static_cast<size_t>(count), 0);
    twins::amax(source, weight.bytes.data(), tiles, expected.data());
    for (const Order order : kOrders) {
      emulated::order() = order;
      std::vector<uint32_t> found(expected.size(), 0);
      REQUIRE(ctq_gpu_kernels()->amax(source, weight.bytes.data(), tiles, found.data(), {}) == 0);
      CHECK(found == expected);
    }
  }
}

TEST_CASE("emulated: codes of tiles, and their values") {
  const Shape shape = any_tiles();
  const gpu::Tiles tiles{shape.rows, shape.cols, shape.tile_rows, shape.tile_cols};
  const int64_t count = (shape.rows + shape.tile_rows - 1) / shape.tile_rows *
                        ((shape.cols + shape.tile_cols - 1) / shape.tile_cols);
  emulated::order() = Order::kForward;
  for (const Source source : kAllSources) {
    for (const Code code : kAllCodes) {
      for (const bool divide : {false, true}) {
        CAPTURE(shape.rows, shape.cols, shape.tile_rows, shape.tile_cols, static_cast<int>(source), divide,
                code_row(code).name);
        std::mt19937 random(4);
        const Stored weight = stored(source, normal(random, shape.rows * shape.cols, 1));
        Numbers factor = scales(random, 1, count, 1, step_of(code));
        for (float& x : factor) x = divide || x == 0 ? x : 1 / x;
        const auto elements = static_cast<size_t>(shape.rows * shape.cols);
        std::vector<uint8_t> expected(elements), found(elements);
        twins::encode(source, code, divide, weight.bytes.data(), tiles, factor.data(), expected.data());
        REQUIRE(ctq_gpu_kernels()->encode(source, code, divide, weight.bytes.data(), tiles, factor.data(),
                                          found.data(), {}) == 0);
        CHECK(found == expected);
        if (source != Source::kFloat32 || divide) continue;
        Numbers expected_values(elements), values(elements);
        twins::decode(code, expected.data(), tiles, factor.data(), expected_values.data());
        REQUIRE(ctq_gpu_kernels()->decode(code, found.data(), tiles, factor.data(), values.data(), {}) == 0);
        CHECK(same_bits(values, expected_values));
      }
    }
  }
}

TEST_CASE("emulated: all codes have the CPU's values") {
  std::vector<uint8_t> codes(256);
  std::iota(codes.begin(), codes.end(), uint8_t{0});
  const gpu::Tiles tiles{1, 256, 1, 256};
  const float scale = 1.5f;
  for (const Code code : kAllCodes) {
    CAPTURE(code_row(code).name);
    Numbers expected(256), found(256);
    twins::decode(code, codes.data(), tiles, &scale, expected.data());
    REQUIRE(ctq_gpu_kernels()->decode(code, codes.data(), tiles, &scale, found.data(), {}) == 0);
    CHECK(same_bits(found, expected));
  }
}

TEST_CASE("emulated: packing halves of bytes") {
  std::vector<uint8_t> codes(2 * 700);
  std::iota(codes.begin(), codes.end(), uint8_t{0});
  for (const bool even_is_high : {false, true}) {
    std::vector<uint8_t> expected(700), found(700);
    twins::pack(codes.data(), 700, even_is_high, expected.data());
    REQUIRE(ctq_gpu_kernels()->pack(codes.data(), 700, even_is_high, found.data(), {}) == 0);
    CHECK(found == expected);
  }
}

TEST_CASE("emulated: Hadamard transforms") {
  const bool regular = GENERATE(false, true);
  for (const int64_t n : {4, 16, 64, 256, 1024, 16384, 2, 32, 2048, 8192}) {
    if (regular && std::countr_zero(static_cast<uint64_t>(n)) % 2 != 0) continue;
    for (const int64_t runs : {1, 7}) {
      CAPTURE(regular, n, runs);
      std::mt19937 random(2);
      const Numbers before = normal(random, runs * n, 1);
      Numbers expected = before;
      twins::hadamard(expected.data(), runs * n, n, regular);
      for (const Order order : kOrders) {
        emulated::order() = order;
        Numbers found = before;
        const auto normalise = static_cast<float>(1 / std::sqrt(static_cast<double>(n)));
        REQUIRE(ctq_gpu_kernels()->hadamard(found.data(), runs * n, n, regular, normalise, {}) == 0);
        CHECK(same_bits(found, expected));
      }
    }
  }
}

TEST_CASE("emulated: what two tensors differ by") {
  const int64_t n = GENERATE(1, 513, 70000);
  for (const Source source : {Source::kBFloat16, Source::kFloat64}) {
    CAPTURE(n, static_cast<int>(source));
    std::mt19937 random(8);
    const Stored original = stored(source, normal(random, n, 1));
    Numbers decoded = normal(random, n, 1);
    for (size_t i = 0; i < decoded.size(); i += 5) decoded[i] = 0;
    std::vector<double> expected(gpu::kDifferencePieces * gpu::kDifferenceSums), found(expected.size(), -1);
    twins::differences(source, original.bytes.data(), Source::kFloat32, decoded.data(), n, expected.data());
    for (const Order order : {Order::kForward, Order::kShuffled}) {
      emulated::order() = order;
      const std::vector<double> before = found;
      REQUIRE(ctq_gpu_kernels()->differences(source, original.bytes.data(), Source::kFloat32, decoded.data(),
                                             n, found.data(), {}) == 0);
      if (order != Order::kForward) CHECK(found == before);
      for (size_t i = 0; i < found.size(); ++i) CHECK(found[i] == Approx(expected[i]).margin(1e-9));
    }
  }
}

}  // namespace
}  // namespace ctq::linalg
