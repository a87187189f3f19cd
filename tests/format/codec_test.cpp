#include "ctq/format/codec.h"

#include <bit>
#include <limits>
#include <set>

#include <catch2/catch.hpp>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "linalg/golden.h"
#include "linalg/tiles_aten.h"

namespace ctq::format {
namespace {

using test::same_bits;

constexpr int64_t kBlock = 16;

const Codec& codec_named(std::string_view format, Granularity granularity) {
  const Codec* codec = find_codec(format, granularity);
  REQUIRE(codec != nullptr);
  return *codec;
}

std::vector<Codec> codecs() { return {registry().begin(), registry().end()}; }

/// encode_nearest for weights that are finite.
Encoded encode(const Codec& codec, const at::Tensor& weight, int64_t block_size = kBlock) {
  std::optional<Encoded> encoded = encode_nearest(codec, weight, block_size);
  REQUIRE(encoded.has_value());
  return *encoded;
}

std::vector<int> code_bytes(const Encoded& encoded) {
  std::vector<int> bytes;
  const at::Tensor flat = encoded.codes.view(at::kByte).reshape(-1);
  for (int64_t i = 0; i < flat.numel(); ++i) bytes.push_back(flat[i].item<int>());
  return bytes;
}

std::vector<int> signed_codes(const Encoded& encoded) {
  std::vector<int> codes = code_bytes(encoded);
  for (int& code : codes) code = code < 128 ? code : code - 256;
  return codes;
}

std::vector<uint32_t> scale_bits(const Encoded& encoded) {
  std::vector<uint32_t> bits;
  const at::Tensor flat = encoded.scales.reshape(-1);
  for (int64_t i = 0; i < flat.numel(); ++i) bits.push_back(std::bit_cast<uint32_t>(flat[i].item<float>()));
  return bits;
}

TEST_CASE("registry: format and granularity name one row, and foreign formats say who reads them",
          "[format]") {
  std::set<std::string> labels;
  for (const Codec& codec : registry()) {
    CAPTURE(codec.label());
    CHECK(labels.insert(codec.label()).second);
    CHECK(find_codec(codec.format, codec.granularity) == &codec);
    CHECK(codec.stock == codec.reader.empty());
    CHECK(codec.stock == codec.stock_equivalent.empty());
  }
  CHECK(labels.size() == 9);
  CHECK(find_codec("int8_tensorwise", Granularity::kBlock) == nullptr);
  CHECK(find_codec("nvfp4", Granularity::kTensor) == nullptr);
  CHECK(codec_named("int8_tensorwise", Granularity::kRow).label() == "int8_tensorwise (row)");
}

TEST_CASE("codecs: what is stored has the announced types and shapes", "[format]") {
  at::manual_seed(1);
  const Codec codec = GENERATE(from_range(codecs()));
  CAPTURE(codec.label());
  const at::Tensor weight = at::randn({48, 32});
  const Encoded encoded = encode(codec, weight);
  const std::vector<StoredTensor> stored = stored_tensors(codec, 48, 32, kBlock);
  REQUIRE(stored.size() == 2);
  CHECK(stored[0].role == "weight");
  CHECK(stored[0].dtype == encoded.codes.scalar_type());
  CHECK(encoded.codes.sizes() == at::IntArrayRef(stored[0].shape));
  CHECK(stored[1].role == "weight_scale");
  CHECK(stored[1].dtype == encoded.scales.scalar_type());
  CHECK(encoded.scales.sizes() == at::IntArrayRef(stored[1].shape));
  CHECK(encoded.block_size == (codec.has_blocks() ? kBlock : 0));
}

TEST_CASE("codecs: decoding gives the nearest value of the grid", "[format]") {
  at::manual_seed(2);
  const Codec codec = GENERATE(from_range(codecs()));
  CAPTURE(codec.label());
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    const at::Tensor weight = (at::randn({64, 96}) * 0.02).to(dtype);
    const Encoded encoded = encode(codec, weight);
    const linalg::Tiling tiles = tiling(codec, 64, 96, kBlock);
    const at::Tensor scale = encoded.scales.reshape({tiles.count_down(64), tiles.count_across(96)})
                                 .repeat_interleave(tiles.rows, 0)
                                 .repeat_interleave(tiles.cols, 1)
                                 .to(at::kDouble);
    const at::Tensor u = (weight.to(at::kDouble) / scale).to(at::kFloat);
    const at::Tensor step = codec.grid().above(u) - codec.grid().below(u);
    const at::Tensor error = (decode(encoded).to(at::kDouble) - weight.to(at::kDouble)).abs();
    // Half a step, and the float32 rounding of scale and quotient.
    CHECK((error <= scale * (step * 0.5 + u.abs() * 3e-7 + 1e-30)).all().item<bool>());
  }
}

TEST_CASE("codecs: a zero weight decodes to zeros with a finite positive scale", "[format]") {
  const Codec codec = GENERATE(from_range(codecs()));
  CAPTURE(codec.label());
  const Encoded encoded = encode(codec, at::zeros({32, 32}));
  CHECK((encoded.codes.view(at::kByte) == 0).all().item<bool>());
  CHECK(encoded.scales.isfinite().all().item<bool>());
  CHECK((encoded.scales > 0).all().item<bool>());
  CHECK(same_bits(decode(encoded), at::zeros({32, 32})));
}

TEST_CASE("codecs: tiny and huge weights stay finite", "[format]") {
  const Codec codec = GENERATE(from_range(codecs()));
  CAPTURE(codec.label());
  for (double magnitude : {1e-45, 1e-38, 1e-36, 1e-30, 1e-12, 1e30, 3.4e38}) {
    at::Tensor weight = at::full({32, 32}, magnitude);
    weight[0][0] = -magnitude;
    const Encoded encoded = encode(codec, weight);
    CHECK(encoded.scales.isfinite().all().item<bool>());
    CHECK((encoded.scales > 0).all().item<bool>());
    const at::Tensor decoded = decode(encoded);
    CHECK(decoded.isfinite().all().item<bool>());
    CHECK(((decoded - weight).abs() <= magnitude).all().item<bool>());
  }
}

TEST_CASE("codecs: zero scales are the format's own", "[format]") {
  const at::Tensor zero = at::zeros({16, 16});
  CHECK(encode(codec_named("float8_e4m3fn", Granularity::kTensor), zero).scales.item<float>() == 1.0f);
  CHECK(encode(codec_named("float8_e5m2", Granularity::kTensor), at::full({2, 2}, 1e-38))
            .scales.item<float>() == 1.0f);
  CHECK(encode(codec_named("int8_tensorwise", Granularity::kTensor), zero).scales.item<float>() == 1e-30f);
  CHECK(encode(codec_named("int8_axiswise", Granularity::kRow), zero).scales[0].item<float>() == 1e-30f);
  CHECK(encode(codec_named("int8_blockwise", Granularity::kBlock), zero).scales.item<float>() == 1e-8f);
  CHECK(encode(codec_named("float8_e4m3fn_rowwise", Granularity::kRow), zero).scales[0].item<float>() ==
        1.0f / (448.0f / 1e-12f));
}

TEST_CASE("codecs: a NaN or an infinity is refused", "[format]") {
  const Codec codec = GENERATE(from_range(codecs()));
  for (float value : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    at::Tensor weight = at::ones({32, 32});
    weight[31][31] = value;
    CHECK_FALSE(encode_nearest(codec, weight, kBlock).has_value());
    CHECK_FALSE(encode_nearest(codec, weight.to(at::kBFloat16), kBlock).has_value());
  }
}

TEST_CASE("codecs: kernels, ATen operations and two threads give the same bits", "[format]") {
  at::manual_seed(3);
  const Codec codec = GENERATE(from_range(codecs()));
  CAPTURE(codec.label());
  const at::Tensor weight = (at::randn({512, 640}) * 0.02).to(at::kBFloat16);
  at::set_num_threads(1);
  const Encoded one = encode(codec, weight, 128);
  const at::Tensor decoded = decode(one);
  at::set_num_threads(2);
  const Encoded two = encode(codec, weight, 128);
  CHECK(same_bits(decode(two), decoded));
  at::set_num_threads(1);
  CHECK(same_bits(one.codes, two.codes));
  CHECK(same_bits(one.scales, two.scales));

  bool finite = false;
  const linalg::Tiling tiles = tiling(codec, 512, 640, 128);
  const linalg::TileCodes aten =
      linalg::aten::quantize_tiles(weight, tiles, {codec.grid().code(), codec.divide, codec.absmax}, &finite);
  CHECK(finite);
  CHECK(same_bits(one.codes, aten.codes));
  CHECK(same_bits(one.scales.reshape(aten.decode.sizes()), aten.decode));
  CHECK(same_bits(decoded, linalg::aten::decode_tiles(aten.codes, tiles, aten.decode)));
}

TEST_CASE("codecs: a weight without elements keeps the announced shapes", "[format]") {
  const Codec codec = GENERATE(from_range(codecs()));
  CAPTURE(codec.label());
  const Encoded encoded = encode(codec, at::empty({0, 32}));
  CHECK(encoded.scales.sizes() == at::IntArrayRef(stored_tensors(codec, 0, 32, kBlock)[1].shape));
  CHECK(decode(encoded).sizes() == at::IntArrayRef({0, 32}));
}

TEST_CASE("misfit: says which side does not divide", "[format]") {
  const Codec& block = codec_named("int8_blockwise", Granularity::kBlock);
  const Codec& block3d = codec_named("float8_e4m3fn_block3d", Granularity::kBlock3d);
  CHECK_FALSE(misfit(block, 256, 384, 128).has_value());
  CHECK(misfit(block, 256, 2000, 128) == "in_features 2000 is not a multiple of block size 128");
  CHECK(misfit(block, 100, 256, 128) == "out_features 100 is not a multiple of block size 128");
  CHECK_FALSE(misfit(block3d, 100, 256, 128).has_value());
  CHECK(misfit(block3d, 100, 200, 128) == "in_features 200 is not a multiple of block size 128");
  CHECK(misfit(block, 256, 256, 0) == "int8_blockwise (block) needs a block size of at least 1, not 0");
  CHECK_FALSE(misfit(codec_named("int8_tensorwise", Granularity::kRow), 3, 5, 0).has_value());
}

TEST_CASE("codecs: the worked examples of the format pages", "[format]") {
  using Bytes = std::vector<int>;
  using Bits = std::vector<uint32_t>;
  const at::Tensor weight = at::tensor({0.5f, -1.0f, 0.25f, 2.0f, -0.1f, 0.3f, -0.7f, 0.0f}).view({2, 4});

  Encoded got = encode(codec_named("float8_e4m3fn", Granularity::kTensor), weight);
  CHECK(code_bytes(got) == Bytes{0x6e, 0xf6, 0x66, 0x7e, 0xdb, 0x68, 0xf2, 0x00});
  CHECK(scale_bits(got) == Bits{0x3b924925});
  CHECK(at::allclose(decode(got)[1], at::tensor({-0.09821429f, 0.28571430f, -0.71428573f, 0.0f}),
                     /*rtol=*/2e-7, /*atol=*/0));

  got = encode(codec_named("float8_e5m2", Granularity::kTensor), weight);
  CHECK(code_bytes(got) == Bytes{0x73, 0xf7, 0x6f, 0x7b, 0xea, 0x70, 0xf5, 0x00});
  CHECK(scale_bits(got) == Bits{0x38124925});
  CHECK(at::allclose(decode(got)[1], at::tensor({-0.10714287f, 0.28571430f, -0.71428573f, 0.0f}),
                     /*rtol=*/2e-7, /*atol=*/0));

  got = encode(codec_named("float8_e4m3fn_rowwise", Granularity::kRow), weight);
  CHECK(code_bytes(got) == Bytes{0x6e, 0xf6, 0x66, 0x7e, 0xe8, 0x74, 0xfe, 0x00});
  CHECK(scale_bits(got) == Bits{0x3b924925, 0x3acccccd});

  got = encode(codec_named("int8_tensorwise", Granularity::kTensor), weight);
  CHECK(signed_codes(got) == Bytes{32, -64, 16, 127, -6, 19, -44, 0});
  CHECK(scale_bits(got) == Bits{0x3c810204});
  CHECK(at::allclose(decode(got)[1], at::tensor({-0.09448819f, 0.29921260f, -0.69291341f, 0.0f}),
                     /*rtol=*/2e-7, /*atol=*/0));

  got = encode(codec_named("int8_tensorwise", Granularity::kRow), weight);
  CHECK(signed_codes(got) == Bytes{32, -64, 16, 127, -18, 54, -127, 0});
  CHECK(scale_bits(got) == Bits{0x3c810204, 0x3bb49c6c});

  got = encode(codec_named("int8_blockwise", Granularity::kBlock), weight, 2);
  CHECK(signed_codes(got) == Bytes{64, -127, 16, 127, -13, 38, -44, 0});
  CHECK(at::equal(got.scales, at::tensor({0.007874016f, 0.015748031f}).view({1, 2})));
}

}  // namespace
}  // namespace ctq::format
