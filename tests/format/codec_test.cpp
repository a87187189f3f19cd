#include "format/codec.h"

#include <bit>
#include <limits>
#include <set>

#include <catch2/catch.hpp>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "linalg/golden.h"
#include "linalg/tiles_aten.h"
#include "support/matchers.h"

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

/// Zero tiles have the scale 0 where scales are no plain float32.
bool good_scales(const Encoded& encoded) {
  const bool zero_is_one = encoded.codec->scale_type != ScaleType::kFloat32;
  const at::Tensor good = zero_is_one ? encoded.scales >= 0 : encoded.scales > 0;
  return encoded.scales.isfinite().logical_and(good).all().item<bool>();
}

TEST_CASE("registry: format and granularity name one row, and foreign formats say who reads them",
          "[format]") {
  std::set<std::string> labels;
  for (const Codec& codec : registry()) {
    CAPTURE(codec.label());
    CHECK(labels.insert(codec.label()).second);
    CHECK(find_codec(codec.format, codec.granularity) == &codec);
  }
  CHECK(labels.size() == 15);
  CHECK(find_codec("int8_tensorwise", Granularity::kBlock) == nullptr);
  CHECK(find_codec("nvfp4", Granularity::kTensor) == nullptr);
  CHECK(codec_named("int8_tensorwise", Granularity::kRow).label() == "int8_tensorwise (row)");
}

TEST_CASE("codecs: what is stored has the announced types and shapes", "[format]") {
  at::manual_seed(1);
  const Codec codec = GENERATE(from_range(codecs()));
  CAPTURE(codec.label());
  const at::Tensor weight = at::randn({48, 64});
  const Encoded encoded = encode(codec, weight);
  CHECK(encoded.codes.scalar_type() == linalg::code_dtype(codec.grid().code()));
  const std::vector<StoredTensor> announced = stored_tensors(codec, 48, 64, kBlock);
  const std::vector<at::Tensor> stored = pack(encoded);
  REQUIRE(stored.size() == announced.size());
  CHECK(announced[0].role == "weight");
  for (size_t i = 0; i < stored.size(); ++i) {
    CAPTURE(announced[i].role);
    CHECK(announced[i].dtype == stored[i].scalar_type());
    CHECK(stored[i].sizes() == at::IntArrayRef(announced[i].shape));
    CHECK(stored[i].is_contiguous());
  }
  CHECK(encoded.block_size == (codec.has_blocks() ? kBlock : 0));
}

TEST_CASE("codecs: what is packed comes back as it was", "[format]") {
  at::manual_seed(4);
  const Codec codec = GENERATE(from_range(codecs()));
  CAPTURE(codec.label());
  for (auto [rows, columns] :
       {std::pair<int64_t, int64_t>{48, 32}, {130, 80}, {1, 256}, {30, 64}, {64, 15}}) {
    if (misfit(codec, rows, columns, kBlock)) continue;
    CAPTURE(rows, columns);
    at::Tensor weight = at::randn({rows, columns}) * 0.02;
    weight[0].mul_(1e-4);
    const int64_t rotation = codec.rotation == Rotation::kNever || columns % 16 != 0 ? 0 : 16;
    const auto encoded = encode_nearest(codec, weight, kBlock, rotation);
    REQUIRE(encoded.has_value());
    const Encoded back =
        unpack(*find_codec(codec.format, codec.granularity), kBlock, rotation, pack(*encoded), rows, columns);
    CHECK(same_bits(back.codes, encoded->codes));
    CHECK(same_bits(back.scales, encoded->scales));
    CHECK(back.block_size == encoded->block_size);
    CHECK(same_bits(decode(back), decode(*encoded)));
  }
}

TEST_CASE("unpack: refuses tensors that are not what the format announces, by name", "[format]") {
  const Codec& codec = codec_named("nvfp4", Granularity::kGroup);
  const std::vector<at::Tensor> good = pack(encode(codec, at::randn({32, 48})));
  const auto with = [&](size_t index, const at::Tensor& other) {
    std::vector<at::Tensor> bad = good;
    bad[index] = other;
    return bad;
  };
  const auto read = [&](const std::vector<at::Tensor>& stored) {
    return unpack(codec, 0, 0, stored, 32, 48);
  };
  CHECK_THROWS_MATCHES(
      read(with(0, good[0].narrow(0, 0, 16))), Error,
      test::HasCode(ErrorCode::kBadInput, "weight of a weight [32, 48] in nvfp4", "[16, 24]"));
  CHECK_THROWS_MATCHES(read(with(1, good[1].to(at::kFloat))), Error,
                       test::HasCode(ErrorCode::kBadInput, "weight_scale", "Float8_e4m3fn", "Float"));
  CHECK_THROWS_MATCHES(read({good[0], good[1]}), Error,
                       test::HasCode(ErrorCode::kBadInput, "3 tensors, not 2"));
}

TEST_CASE("codecs: decoding gives the nearest value of the grid", "[format]") {
  at::manual_seed(2);
  const Codec codec = GENERATE(from_range(codecs()));
  CAPTURE(codec.label());
  if (!decodes_linearly(codec)) return;
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    const at::Tensor weight = (at::randn({64, 128}) * 0.02).to(dtype);
    const Encoded encoded = encode(codec, weight);
    const linalg::Tiling tiles = tiling(codec, 64, 128, kBlock);
    const at::Tensor scale = encoded.scales.reshape({tiles.count_down(64), tiles.count_across(128)})
                                 .repeat_interleave(tiles.rows, 0)
                                 .repeat_interleave(tiles.cols, 1)
                                 .to(at::kDouble);
    const at::Tensor u = (weight.to(at::kDouble) / scale).to(at::kFloat);
    const at::Tensor step = codec.grid().above(u) - codec.grid().below(u);
    const at::Tensor error = (decode(encoded).to(at::kDouble) - weight.to(at::kDouble)).abs();
    // Half a step, what a scale that was rounded down clips, and the float32 rounding of scale and quotient.
    const at::Tensor clipped = (u.abs() - codec.grid().max_abs()).clamp_min(0);
    CHECK((clipped <= codec.grid().max_abs() / 16).all().item<bool>());
    CHECK((error <= scale * (at::maximum(step * 0.5, clipped) + u.abs() * 3e-7 + 1e-30)).all().item<bool>());
  }
}

TEST_CASE("codecs: a zero weight decodes to zeros with a finite positive scale", "[format]") {
  const Codec codec = GENERATE(from_range(codecs()));
  CAPTURE(codec.label());
  const Encoded encoded = encode(codec, at::zeros({32, 64}));
  const bool has_zero = codec.grid().code() != linalg::Code::kLevel16;  // of levels one is decoded to it
  if (has_zero) CHECK((encoded.codes.view(at::kByte) == 0).all().item<bool>());
  CHECK(good_scales(encoded));
  CHECK((decode(encoded) == 0).all().item<bool>());
}

TEST_CASE("codecs: tiny and huge weights stay finite", "[format]") {
  const Codec codec = GENERATE(from_range(codecs()));
  CAPTURE(codec.label());
  for (double magnitude : {1e-45, 1e-38, 1e-36, 1e-30, 1e-12, 1e30, 3e38}) {  // 256 * 2^120 would be infinite
    at::Tensor weight = at::full({32, 64}, magnitude);
    weight[0][0] = -magnitude;
    const Encoded encoded = encode(codec, weight);
    CHECK(good_scales(encoded));
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
    at::Tensor weight = at::ones({32, 64});
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

  if (codec.absmax == nullptr) return;  // not by these kernels
  bool finite = false;
  const linalg::Tiling tiles = tiling(codec, 512, 640, 128);
  const linalg::TileCodes aten = linalg::aten::quantize_tiles(
      weight, tiles, {codec.grid().code(), codec.divide, codec.absmax, codec.outer_scale != nullptr},
      &finite);
  CHECK(finite);
  CHECK(same_bits(one.codes, aten.codes));
  CHECK(same_bits(one.scales.reshape(aten.decode.sizes()), aten.decode));
  CHECK(same_bits(decoded, linalg::aten::decode_tiles(aten.codes, codec.grid().code(), tiles, aten.decode)));
}

TEST_CASE("codecs: a weight without elements keeps the announced shapes", "[format]") {
  const Codec codec = GENERATE(from_range(codecs()));
  CAPTURE(codec.label());
  const Encoded encoded = encode(codec, at::empty({0, 64}));
  const std::vector<StoredTensor> announced = stored_tensors(codec, 0, 64, kBlock);
  const std::vector<at::Tensor> stored = pack(encoded);
  for (size_t i = 0; i < stored.size(); ++i) CHECK(stored[i].sizes() == at::IntArrayRef(announced[i].shape));
  CHECK(decode(encoded).sizes() == at::IntArrayRef({0, 64}));
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
  for (const auto& [format, multiple] :
       {std::pair{"convrot_w4a4", 64}, {"asym_w4a8_int8", 16}, {"awq_w4a16", 64}}) {
    const Codec* codec = find_codec(format, Granularity::kGroup);
    if (codec == nullptr) codec = find_codec(format, Granularity::kRow);
    REQUIRE(codec != nullptr);
    CHECK_FALSE(misfit(*codec, 3, 3 * multiple, 0).has_value());
    CHECK(misfit(*codec, 3, multiple + 8, 0) ==
          fmt::format("in_features {} is not a multiple of {}, as {} needs it", multiple + 8, multiple,
                      format));
  }
  for (const char* format : {"nvfp4", "mxfp8", "hybrid_mxfp8"})
    CHECK_FALSE(misfit(codec_named(format, Granularity::kGroup), 3, 5, 0).has_value());
}

TEST_CASE("largest_input: the largest code, with two levels of scales times the largest E4M3", "[format]") {
  CHECK(largest_input(codec_named("float8_e4m3fn", Granularity::kTensor)) == 448);
  CHECK(largest_input(codec_named("int8_tensorwise", Granularity::kRow)) == 127);
  CHECK(largest_input(codec_named("nvfp4", Granularity::kGroup)) == 6 * 448);
}

TEST_CASE("awq_w4a16: least and largest weight of a run are the first and the last code", "[format]") {
  at::Tensor weight = at::full({2, 128}, 0.25);
  weight[0].narrow(0, 0, 64) = at::linspace(-1, 2.75, 64);
  const Encoded encoded = encode(codec_named("awq_w4a16", Granularity::kGroup), weight);
  CHECK(at::equal(encoded.scales, at::tensor({0.25f, 1.0f, 1.0f, 1.0f}).view({2, 2})));
  CHECK(at::equal(encoded.zeros, at::tensor({1.0f, 0.25f, 0.25f, 0.25f}).view({2, 2})));
  CHECK(encoded.codes[0][0].item<int>() == -8);
  CHECK(encoded.codes[0][63].item<int>() == 7);
  CHECK((encoded.codes[1] == 0).all().item<bool>());
  CHECK((decode(encoded) - weight).abs().max().item<float>() <= 0.125f);
  const std::vector<at::Tensor> stored = pack(encoded);
  CHECK(stored[0][1][0].item<int8_t>() == static_cast<int8_t>(0x88));
  CHECK(stored[1].sizes() == at::IntArrayRef({2, 2}));
  CHECK(stored[2][0][1].item<float>() == 0.25f);  // [runs, rows]
}

TEST_CASE("asym_w4a8_int8: a codebook of other levels is refused", "[format]") {
  const Codec& codec = codec_named("asym_w4a8_int8", Granularity::kGroup);
  std::vector<at::Tensor> stored = pack(encode(codec, at::randn({4, 64})));
  stored[3] = stored[3] * 2;
  CHECK_THROWS_MATCHES(unpack(codec, 0, 0, stored, 4, 64), Error,
                       test::HasCode(ErrorCode::kBadInput, "weight_codebook"));
}

TEST_CASE("hybrid_mxfp8: mxfp8 with its largest scale", "[format]") {
  at::Tensor weight = at::full({2, 32}, 448.0f);
  weight[1].mul_(4);
  const std::vector<at::Tensor> stored =
      pack(encode(codec_named("hybrid_mxfp8", Granularity::kGroup), weight));
  const std::vector<at::Tensor> plain = pack(encode(codec_named("mxfp8", Granularity::kGroup), weight));
  CHECK(same_bits(stored.at(0), plain.at(0)));
  CHECK(same_bits(stored.at(1), plain.at(1)));
  CHECK(stored.at(2).item<float>() == 4.0f);
  CHECK(
      pack(encode(codec_named("hybrid_mxfp8", Granularity::kGroup), at::zeros({2, 2}))).at(2).item<float>() ==
      1.0f);
}

TEST_CASE("storable_scales: of all scales that the format has, the nearest", "[format]") {
  const at::Tensor scales = at::tensor({0.0f, 0.7f, 0.75f, 1.0f, 1.4f, 1.42f, 3e9f}).view({7, 1});
  const Codec& plain = codec_named("int8_tensorwise", Granularity::kRow);
  CHECK(at::equal(storable_scales(plain, scales, {}), scales));
  const Codec& powers = codec_named("mxfp8", Granularity::kGroup);
  CHECK(at::equal(storable_scales(powers, scales, {}),
                  at::tensor({0.0f, 0.5f, 1.0f, 1.0f, 1.0f, 1.0f, 0x1p31f}).view({7, 1})));
  const Codec& two_levels = codec_named("nvfp4", Granularity::kGroup);
  CHECK(at::equal(storable_scales(two_levels, scales, at::full({}, 0.5f)),
                  at::tensor({0.0f, 0.6875f, 0.75f, 1.0f, 1.375f, 1.375f, 224.0f}).view({7, 1})));
}

TEST_CASE("rows_of: decodes to the same rows", "[format]") {
  at::manual_seed(5);
  const Codec codec = GENERATE(from_range(codecs()));
  CAPTURE(codec.label());
  const Encoded encoded = encode(codec, at::randn({64, 64}));
  for (auto [row, rows] : {std::pair<int64_t, int64_t>{0, 64}, {16, 32}, {48, 16}})
    CHECK(same_bits(decode(rows_of(encoded, row, rows)), decode(encoded).narrow(0, row, rows)));
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

  // Row 0: the eight numbers above; row 1: from -1 in equal steps.
  const auto with_ramp = [&](int64_t columns) {
    return at::stack({at::constant_pad_nd(weight.reshape({-1}), {0, columns - 8}),
                      at::arange(columns).to(at::kFloat).mul_(2.0 / static_cast<double>(columns)).sub_(1)});
  };
  const auto bytes = [](const at::Tensor& tensor, int64_t row) {
    const at::Tensor line = tensor.view(at::kByte)[row].to(at::kInt).contiguous();
    return Bytes(line.const_data_ptr<int>(), line.const_data_ptr<int>() + line.numel());
  };
  std::vector<at::Tensor> stored = pack(encode(codec_named("nvfp4", Granularity::kGroup), with_ramp(16)));
  CHECK(stored[0].sizes() == at::IntArrayRef({16, 8}));
  CHECK(bytes(stored[0], 0) == Bytes{0x3d, 0x27, 0x92, 0xc0, 0, 0, 0, 0});
  CHECK(bytes(stored[0], 1) == Bytes{0xff, 0xee, 0xdc, 0xba, 0x02, 0x34, 0x56, 0x67});
  CHECK(stored[0].narrow(0, 2, 14).eq(0).all().item<bool>());
  at::Tensor scales = stored[1].view(at::kByte).reshape(-1);
  CHECK(scales.numel() == 128 * 4);
  CHECK(scales[0].item<int>() == 0x7e);
  CHECK(scales[16].item<int>() == 0x76);
  CHECK(scales.count_nonzero().item<int>() == 2);
  CHECK(std::bit_cast<uint32_t>(stored[2].item<float>()) == 0x3a430c31);

  at::Tensor spike = at::zeros({1, 64});
  spike[0][0] = 1, spike[0][1] = 0.5, spike[0][5] = -0.25;
  const auto rotated = encode_nearest(codec_named("convrot_w4a4", Granularity::kRow), spike, 0, 64);
  stored = pack(*rotated);
  CHECK(stored[1].item<float>() == 0.03125f);
  CHECK(bytes(stored[0], 0) == Bytes{0x55, 0xd3, 0x55, 0xd3, 0x77, 0xf1, 0x99, 0x1f, 0x55, 0xd3, 0x55,
                                     0xd3, 0x77, 0xf1, 0x99, 0x1f, 0x55, 0xd3, 0x55, 0xd3, 0x77, 0xf1,
                                     0x99, 0x1f, 0xbb, 0x3d, 0xbb, 0x3d, 0x99, 0x1f, 0x77, 0xf1});

  stored = pack(encode(codec_named("mxfp8", Granularity::kGroup), with_ramp(32)));
  CHECK(stored[0].sizes() == at::IntArrayRef({32, 32}));
  Bytes row = {0x68, 0xf0, 0x60, 0x78, 0xd5, 0x62, 0xeb};
  row.resize(32);
  CHECK(bytes(stored[0], 0) == row);
  CHECK(bytes(stored[0], 1) == Bytes{0xf8, 0xf7, 0xf6, 0xf5, 0xf4, 0xf3, 0xf2, 0xf1, 0xf0, 0xee, 0xec,
                                     0xea, 0xe8, 0xe4, 0xe0, 0xd8, 0x00, 0x58, 0x60, 0x64, 0x68, 0x6a,
                                     0x6c, 0x6e, 0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77});
  scales = stored[1].reshape(-1);
  CHECK(scales[0].item<int>() == 120);
  CHECK(scales[16].item<int>() == 119);
  CHECK(scales.count_nonzero().item<int>() == 2);
}

}  // namespace
TEST_CASE("codec: rows of an incoherent weight keep their signs", "[format]") {
  const at::Tensor weight = at::randn({8, 16}, at::detail::createCPUGenerator(2));
  const Encoded encoded = encode_nearest(quip_codec(), weight, 0, 0, /*sign_seed=*/5).value();
  const Encoded rows = rows_of(encoded, 2, 4);
  CHECK(at::equal(rows.sign_row, encoded.sign_row.narrow(0, 2, 4)));
  CHECK(at::equal(decode_codes(rows), decode_codes(encoded).narrow(0, 2, 4)));
}

}  // namespace ctq::format
