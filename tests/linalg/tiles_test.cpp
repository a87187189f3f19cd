#include "linalg/tiles.h"

#include <cmath>
#include <limits>

#include <catch2/catch.hpp>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "linalg/golden.h"
#include "linalg/reference.h"
#include "linalg/tiles_aten.h"

namespace ctq::linalg {
namespace {

using test::Golden;
using test::same_bits;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr at::ScalarType kFloats[] = {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble};

TileScale by_127(float amax, float) { return {std::max(amax / 127, 1e-30f), std::max(amax / 127, 1e-30f)}; }
TileScale by_reciprocal(float amax, float) {
  const float factor = 448 / std::max(amax, 1e-12f);
  return {1 / factor, factor};
}

/// Two levels: tiles far below the largest are coded as zeros.
TileScale by_whole(float amax, float whole) {
  const float scale = amax > whole / 4 ? std::ldexp(whole, -3) : 0.0f;
  return {scale, scale};
}

constexpr TileCoding kCodings[] = {{Code::kE2M1, true, by_whole, true},   {Code::kInt4, true, by_127},
                                   {Code::kNibble, false, by_reciprocal}, {Code::kLevel16, true, by_127},
                                   {Code::kInt8, true, by_127},           {Code::kE4M3, false, by_reciprocal},
                                   {Code::kE5M2, false, by_reciprocal},   {Code::kE4M3, true, by_127}};

at::Tensor random_matrix(int64_t rows, int64_t cols, at::ScalarType dtype) {
  return (at::randn({rows, cols}, at::kDouble) * 0.02).to(dtype);
}

/// Kernels, ATen operations and two threads give the same bits for this matrix.
void check_paths_agree(const at::Tensor& weight, Tiling tiling) {
  CAPTURE(weight.sizes(), toString(weight.scalar_type()), tiling.rows, tiling.cols);
  CHECK(same_bits(tile_amax(weight, tiling), aten::tile_amax(weight, tiling)));
  for (const TileCoding& coding : kCodings) {
    bool finite = false, finite_aten = false, finite_threads = false;
    const TileCodes kernels = quantize_tiles(weight, tiling, coding, &finite);
    const TileCodes reference = aten::quantize_tiles(weight, tiling, coding, &finite_aten);
    at::set_num_threads(2);
    const TileCodes threads = quantize_tiles(weight, tiling, coding, &finite_threads);
    at::set_num_threads(1);
    CHECK((finite && finite_aten && finite_threads));
    CHECK(same_bits(kernels.decode, reference.decode));
    CHECK(same_bits(kernels.codes, reference.codes));
    CHECK(same_bits(kernels.decode, threads.decode));
    CHECK(same_bits(kernels.codes, threads.codes));
    CHECK(kernels.whole == reference.whole);
    const at::Tensor values = decode_tiles(kernels.codes, coding.code, tiling, kernels.decode);
    CHECK(same_bits(values, aten::decode_tiles(kernels.codes, coding.code, tiling, kernels.decode)));
    const at::Tensor factor = coding.divide ? kernels.decode : kernels.decode.reciprocal();
    CHECK(same_bits(encode_tiles(weight, tiling, coding.code, coding.divide, factor),
                    aten::encode_tiles(weight, tiling, coding.code, coding.divide, factor)));
  }
}

TEST_CASE("tiles: kernels and ATen operations agree for all widths, tiles and types", "[linalg]") {
  at::manual_seed(3);
  at::set_num_threads(1);
  for (at::ScalarType dtype : kFloats) {
    for (int64_t cols : {1, 2, 7, 15, 16, 17, 31, 33, 48, 63, 64, 65, 70}) {
      for (int64_t rows : {1, 5, 40}) {
        const at::Tensor weight = random_matrix(rows, cols, dtype);
        for (Tiling tiling : {Tiling{rows, cols}, Tiling{1, cols}, Tiling{1, 1}, Tiling{1, 3}, Tiling{3, 3},
                              Tiling{1, 16}, Tiling{16, 16}, Tiling{32, 32}, Tiling{128, 128}}) {
          check_paths_agree(weight, tiling);
        }
      }
    }
  }
}

TEST_CASE("tiles: matrices large enough for several threads give the same bits", "[linalg]") {
  at::manual_seed(4);
  const at::Tensor weight = random_matrix(700, 1100, at::kBFloat16);
  for (Tiling tiling :
       {Tiling{700, 1100}, Tiling{1, 1100}, Tiling{128, 128}, Tiling{1, 128}, Tiling{16, 1100}}) {
    check_paths_agree(weight, tiling);
  }
}

TEST_CASE("nibbles: what is packed comes back, and both ways of packing agree", "[linalg]") {
  at::manual_seed(5);
  for (const at::ScalarType type : {at::kByte, at::kChar}) {
    const at::Tensor codes =
        at::randint(type == at::kByte ? 0 : -8, type == at::kByte ? 16 : 8, {70, 130}).to(type);
    for (const bool even_is_high : {false, true}) {
      const at::Tensor packed = pack_nibbles(codes, even_is_high);
      CHECK(packed.sizes() == at::IntArrayRef({70, 65}));
      CHECK(same_bits(packed, aten::pack_nibbles(codes, even_is_high)));
      CHECK(same_bits(unpack_nibbles(packed, even_is_high), codes));
    }
  }
  CHECK(pack_nibbles(at::empty({0, 4}, at::kByte), true).sizes() == at::IntArrayRef({0, 2}));
}

TEST_CASE("tiles: empty matrices give empty results", "[linalg]") {
  for (auto [rows, cols] : {std::pair<int64_t, int64_t>{0, 8}, {8, 0}, {0, 0}}) {
    const at::Tensor weight = at::empty({rows, cols});
    bool finite = false;
    const TileCodes coded = quantize_tiles(weight, {4, 4}, kCodings[4], &finite);
    CHECK(finite);
    CHECK(coded.codes.sizes() == weight.sizes());
    CHECK(coded.decode.size(0) == (rows + 3) / 4);
    CHECK(tile_amax(weight, {4, 4}).numel() == 0);
    CHECK(decode_tiles(coded.codes, Code::kInt8, {4, 4}, coded.decode).sizes() == weight.sizes());
  }
  CHECK(extent(at::empty({0})).amax == 0);
  CHECK(extent(at::empty({0})).finite());
}

TEST_CASE("tile_amax: partial tiles at the edges count only what they hold", "[linalg]") {
  const at::Tensor weight =
      at::tensor({1.0f, -2.0f, 3.0f, 4.0f, 5.0f, -6.0f, -7.0f, 8.0f, 0.0f}).view({3, 3});
  const at::Tensor amax = tile_amax(weight, {2, 2});
  CHECK(at::equal(amax, at::tensor({5.0f, 6.0f, 8.0f, 0.0f}).view({2, 2})));
}

TEST_CASE("extent: finds the largest magnitude of every float type", "[linalg]") {
  for (at::ScalarType dtype : kFloats) {
    for (int64_t n : {1, 2, 31, 64, 65, 1000}) {
      for (int64_t position : {int64_t{0}, n / 2, n - 1}) {
        at::Tensor weight = at::full({n}, 0.25, dtype);
        weight[position] = -3.5;
        const Extent found = extent(weight);
        CHECK(found.amax == 3.5f);
        CHECK(found.finite());
      }
    }
  }
  CHECK(extent(at::full({3, 3}, -0.0f)).amax == 0);
  CHECK_FALSE(std::signbit(extent(at::full({3, 3}, -0.0f)).amax));
  CHECK(extent(at::full({5}, std::ldexp(1.0, -24)).to(at::kHalf)).amax == std::ldexp(1.0f, -24));
}

TEST_CASE("extent: counts NaN and infinities apart, in every position of a vector", "[linalg]") {
  for (at::ScalarType dtype : kFloats) {
    size_t wrong = 0;
    for (int64_t position = 0; position < 130; ++position) {
      for (float value : {kNaN, -kNaN, kInfinity, -kInfinity}) {
        at::Tensor weight = at::full({130}, -0.5, dtype);
        weight[position] = value;
        const Extent found = extent(weight);
        wrong += found.amax != 0.5f || found.nan_count != std::isnan(value) ||
                 found.inf_count != std::isinf(value);
        bool finite = true;
        quantize_tiles(weight.view({1, 130}), {1, 16}, kCodings[1], &finite);
        wrong += finite;
        quantize_tiles(weight.view({13, 10}), {13, 10}, kCodings[0], &finite);
        wrong += finite;
        wrong += std::isfinite(tile_amax(weight.view({10, 13}), {4, 4}).max().item<float>());
      }
    }
    CHECK(wrong == 0);
  }
  const Extent found = extent(at::tensor({kNaN, 1.0f, kInfinity, -kInfinity, -2.0f, kNaN, kNaN}));
  CHECK(found.nan_count == 3);
  CHECK(found.inf_count == 2);
  CHECK(found.amax == 2.0f);
}

TEST_CASE("golden: clamped casts to FP8 have torch's bits", "[linalg]") {
  const Golden golden("casts");
  const at::Tensor input = golden["in.f32"];
  const at::Tensor numbers = input.isnan().logical_not();
  const at::Tensor weight = input.masked_select(numbers).view({1, -1});
  const Tiling whole = {1, weight.numel()};
  for (auto [code, name] :
       {std::pair{Code::kE4M3, "out.clampcast_e4m3fn_u8"}, {Code::kE5M2, "out.clampcast_e5m2_u8"}}) {
    const at::Tensor expected = golden[name].masked_select(numbers).view({1, -1});
    for (bool divide : {false, true}) {
      CHECK(same_bits(encode_tiles(weight, whole, code, divide, at::ones({1, 1})).view(at::kByte), expected));
    }
  }
}

TEST_CASE("golden: integers round half to even", "[linalg]") {
  const Golden golden("casts");
  const at::Tensor input = golden["in.round_f32"].view({1, -1});
  const at::Tensor expected = golden["out.round_half_even_f32"].clamp(-127, 127).to(at::kChar).view({1, -1});
  CHECK(same_bits(encode_tiles(input, {1, 64}, Code::kInt8, /*divide=*/true, at::ones({1, 1})), expected));
}

TEST_CASE("golden: every FP8 code decodes to torch's value", "[linalg]") {
  const Golden golden("casts");
  for (auto [code, name] :
       {std::pair{Code::kE4M3, "out.table_e4m3fn_f32"}, {Code::kE5M2, "out.table_e5m2_f32"}}) {
    const at::Tensor codes = at::arange(256, at::kByte).view(code_dtype(code)).view({1, 256});
    const at::Tensor values = decode_tiles(codes, code, {1, 256}, at::ones({1, 1})).view(-1),
                     expected = golden[name];
    CHECK(at::equal(values.isnan(), expected.isnan()));
    CHECK(same_bits(values.masked_select(values.isnan().logical_not()),
                    expected.masked_select(expected.isnan().logical_not())));
  }
}

TEST_CASE("kernel_isa: names an instruction set", "[linalg]") {
  const std::string isa = kernel_isa();
  CHECK((isa == "avx512" || isa == "avx2" || isa == "baseline"));
}

}  // namespace
}  // namespace ctq::linalg
