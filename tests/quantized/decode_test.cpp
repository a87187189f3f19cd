// The weights that codes, scales and markers stand for.
#include "quantized/decode.h"

#include <cmath>

#include <catch2/catch.hpp>

#include "format/codec.h"
#include "format/layout.h"
#include "linalg/golden.h"
#include "linalg/hadamard.h"
#include "support/matchers.h"
#include "support/quantized_checkpoint.h"

namespace ctq::quantized {
namespace {

using namespace ctq::test;
using safetensors::Dtype;

at::Tensor decoded(const Opened& opened) { return decode(opened.file, opened.file.layers.front()); }

TestTensor int8(std::string name, std::vector<int64_t> shape, const std::vector<int8_t>& values) {
  return tensor(std::move(name), Dtype::kI8, std::move(shape), {values.begin(), values.end()});
}

}  // namespace

TEST_CASE("decode: every codec's own tensors give what the codec decodes", "[quantized]") {
  const at::Tensor weight = at::randn({64, 256}, at::detail::createCPUGenerator(5));
  for (const format::Codec& codec : format::registry()) {
    for (const int64_t rotation : {0, 64}) {
      if (rotation == 0 ? codec.rotation == format::Rotation::kAlways
                        : codec.rotation == format::Rotation::kNever)
        continue;
      CAPTURE(codec.label(), rotation);
      const int64_t block = codec.has_blocks() ? 32 : 0;
      const format::Encoded encoded = format::encode_nearest(codec, weight, block, rotation).value();
      const std::vector<at::Tensor> packed = format::pack(encoded);
      const auto announced = format::stored_tensors(codec, 64, 256, block);
      std::vector<TestTensor> tensors;
      for (size_t i = 0; i < packed.size(); ++i)
        tensors.push_back(stored(fmt::format("a.{}", announced[i].role), packed[i]));
      tensors.push_back(marker("a", format::marker_json(codec, block, {.rotation_group = rotation})));
      CHECK(same_bits(decoded(Opened(tensors)), format::decode(encoded)));
    }
  }
}

TEST_CASE("decode: padded storage is cropped, input factors belong to the weight", "[quantized]") {
  const format::Codec& codec = *format::find_codec("nvfp4", format::Granularity::kGroup);
  const at::Tensor weight = at::randn({20, 40}, at::detail::createCPUGenerator(7));
  const at::Tensor factors = at::rand({40}, at::detail::createCPUGenerator(8)) + 0.5;
  const format::Encoded encoded = format::encode_nearest(codec, weight, 0).value();
  const std::vector<at::Tensor> packed = format::pack(encoded);
  const auto announced = format::stored_tensors(codec, 20, 40, 0);
  std::vector<TestTensor> tensors{marker("a", R"({"format": "nvfp4", "orig_shape": [20, 40]})")};
  for (size_t i = 0; i < packed.size(); ++i)
    tensors.push_back(stored(fmt::format("a.{}", announced[i].role), packed[i]));
  CHECK(same_bits(decoded(Opened(tensors)), format::decode(encoded)));
  tensors.push_back(stored("a.pre_quant_scale", factors));
  CHECK(at::equal(decoded(Opened(tensors)), format::decode(encoded) * factors));
}

TEST_CASE("decode: the scale's shape says what it covers", "[quantized]") {
  const auto weight = [](std::vector<int64_t> shape, const std::vector<float>& scales) {
    return decoded(Opened({int8("a.weight", {2, 4}, {1, 1, 1, 1, 2, 2, 2, 2}),
                           f32("a.weight_scale", std::move(shape), scales),
                           marker("a", R"({"format": "int8_blockwise"})")}));
  };
  CHECK(at::equal(weight({}, {3}), at::tensor({3.f, 3.f, 3.f, 3.f, 6.f, 6.f, 6.f, 6.f}).reshape({2, 4})));
  CHECK(at::equal(weight({2}, {1, 10}),
                  at::tensor({1.f, 1.f, 1.f, 1.f, 20.f, 20.f, 20.f, 20.f}).reshape({2, 4})));
  CHECK(at::equal(weight({1, 2}, {1, 10}),
                  at::tensor({1.f, 1.f, 10.f, 10.f, 2.f, 2.f, 20.f, 20.f}).reshape({2, 4})));
  CHECK(at::equal(weight({2, 2, 1}, {1, 10, 100, 0}),
                  at::tensor({1.f, 1.f, 10.f, 10.f, 200.f, 200.f, 0.f, 0.f}).reshape({2, 4})));
  CHECK_THROWS_MATCHES(weight({4}, {1, 1, 1, 1}), Error,
                       HasCode(ErrorCode::kBadInput, "layer 'a'", "[4] covers no even part of [2, 4]"));
}

TEST_CASE("decode: legacy scales, one-byte scales both ways, raw values, a kept weight", "[quantized]") {
  const std::string codes = {'\x38', '\x40', '\x7e', '\0'};  // 1, 2, 448, 0
  const TestTensor weight = tensor("a.weight", Dtype::kF8E4M3, {2, 2}, codes);
  const at::Tensor values = at::tensor({1.f, 2.f, 448.f, 0.f}).reshape({2, 2});
  CHECK(at::equal(decoded(Opened({weight, f32("a.scale_weight", {1}, {0.5}),
                                  tensor("scaled_fp8", Dtype::kF8E4M3, {0}, "")})),
                  values * 0.5));
  CHECK(at::equal(decoded(Opened({weight})), values));
  const TestTensor code = tensor("a.scale_weight", Dtype::kU8, {}, std::string(1, static_cast<char>(134)));
  const TestTensor eight = tensor("scale_format", Dtype::kU8, {1}, "\x08");
  const float scale = 2.0224712e-4f;  // 10^(134 / 255 * 12 - 10)
  CHECK(at::allclose(decoded(Opened({weight, code, eight})), values / scale, 1e-6));
  CHECK(at::allclose(
      decoded(Opened({weight, code, eight},
                     {{"ctq.scale8", R"({"log10_min": -10, "log10_max": 2, "meaning": "dequant"})"}})),
      values * scale, 1e-6));
  const Opened kept({bf16_weight("a.weight", 2, 2), f32("a.scale_weight", {}, {7}),
                     tensor("scaled_fp8", Dtype::kF8E4M3, {2}, "ab")});
  CHECK(at::equal(decoded(kept), model::load(*kept.checkpoint.find("a.weight")).to(at::kFloat)));
}

TEST_CASE("decode: a transformed QuIP layer as its node decodes it", "[quantized]") {
  const Golden golden("rotations");
  const auto layer = [&](int32_t rows) {
    return std::vector<TestTensor>{stored("a.weight", golden["in.quip.weight"]),
                                   stored("a.weight_scale", golden["in.quip.weight_scale"]),
                                   stored("a.sign_row", golden["in.quip.sign_row"]),
                                   stored("a.sign_col", golden["in.quip.sign_col"]),
                                   stored("a.hadamard_quip", at::ones({}, at::kChar)),
                                   stored("a.hadamard_size_out", at::full({}, rows, at::kInt)),
                                   stored("a.hadamard_size_in", at::full({}, 32, at::kInt)),
                                   marker("a", R"({"format": "int8_quip_hadamard"})")};
  };
  CHECK(at::allclose(decoded(Opened(layer(16))), golden["deq.quip"], 1e-5, 1e-6));
  CHECK_THROWS_MATCHES(decoded(Opened(layer(8))), Error,
                       HasCode(ErrorCode::kBadInput, "hadamard_size_out is not the size"));
}

TEST_CASE("decode: asym_w4a8_int8 with other groups, without a codebook, with six bits", "[quantized]") {
  const Golden golden("asym_w4a8_int8");
  struct Row {
    std::string name, json;
  };
  const auto row = GENERATE(values<Row>({
      {"w4_g16_r256", R"({"format": "asym_w4a8_int8", "group_size": 16, "convrot_groupsize": 256})"},
      {"w4_g32_r64", R"({"format": "asym_w4a8_int8", "group_size": 32, "convrot_groupsize": 64})"},
      {"w6_g16_r256", R"({"format": "asym_w4a8_int8"})"},
  }));
  CAPTURE(row.name);
  const auto part = [&](const std::string& role) { return golden["out." + row.name + "." + role]; };
  std::vector<TestTensor> tensors{marker("a", row.json)};
  for (const char* role : {"weight", "weight_s_rel", "weight_s_channel"})
    tensors.push_back(stored(std::string("a.") + role, part(role)));
  const bool six_bits = row.name.starts_with("w6");
  if (!six_bits) tensors.push_back(stored("a.weight_codebook", part("weight_codebook")));
  CHECK(at::allclose(decoded(Opened(tensors)), golden["deq." + row.name], 1e-5, 1e-7));
  if (six_bits) return;
  // A codebook of c - 8 is what its absence means.
  tensors.back() = stored("a.weight_codebook", at::arange(-8, 8, at::kFloat));
  const at::Tensor by_codebook = decoded(Opened(tensors));
  tensors.pop_back();
  CHECK(same_bits(decoded(Opened(tensors)), by_codebook));
}

TEST_CASE("decode: awq_w4a16 in the type of its scales", "[quantized]") {
  const Golden golden("awq_w4a16");
  const auto layer = [&](at::ScalarType type) {
    return decoded(Opened({stored("a.weight", golden["in.weight"]),
                           stored("a.weight_scale", golden["in.weight_scale"].to(type)),
                           stored("a.weight_zeros", golden["in.weight_zeros"].to(type)),
                           marker("a", R"({"format": "awq_w4a16", "group_size": 64})")}));
  };
  CHECK(at::equal(layer(at::kBFloat16), golden["deq.bf16"].to(at::kFloat)));
  const auto by_column = [&](const char* name) {
    return golden[name].to(at::kFloat).t().repeat_interleave(64, 1);
  };
  const at::Tensor steps = golden["in.codes"].to(at::kFloat) - 8;
  CHECK(at::equal(layer(at::kFloat), steps * by_column("in.weight_scale") + by_column("in.weight_zeros")));
}

TEST_CASE("decode: a bank of experts, each with its scale or all with one", "[quantized]") {
  const auto bank = [](std::vector<int64_t> shape, const std::vector<float>& scales) {
    return decoded(
        Opened({int8("a.weight", {2, 1, 2}, {1, 2, 3, 4}), f32("a.weight_scale", std::move(shape), scales),
                marker("a", R"({"format": "int8_tensorwise", "num_experts": 2})")}));
  };
  CHECK(at::equal(bank({}, {2}), at::tensor({2.f, 4.f, 6.f, 8.f}).reshape({2, 1, 2})));
  CHECK(at::equal(bank({2}, {1, 10}), at::tensor({1.f, 2.f, 30.f, 40.f}).reshape({2, 1, 2})));
  CHECK(at::equal(bank({2, 1, 1}, {1, 10}), at::tensor({1.f, 2.f, 30.f, 40.f}).reshape({2, 1, 2})));
}

TEST_CASE("decode: names what is missing or does not fit", "[quantized]") {
  const TestTensor weight = int8("a.weight", {2, 4}, {1, 1, 1, 1, 2, 2, 2, 2}),
                   scale = f32("a.weight_scale", {}, {1});
  const auto refuses = [](const std::vector<TestTensor>& tensors, const std::string& said) {
    CHECK_THROWS_MATCHES(decoded(Opened(tensors)), Error, HasCode(ErrorCode::kBadInput, "layer 'a'", said));
  };
  refuses({weight, marker("a", R"({"format": "int8_tensorwise"})")}, "weight_scale is missing");
  refuses({scale, marker("a", R"({"format": "int8_tensorwise"})")}, "has no 'a.weight'");
  refuses({weight, scale, marker("a", "{")}, "is not JSON");
  refuses({weight, scale,
           marker("a", R"({"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 16})")},
          "16");
  CHECK_THROWS_MATCHES(decoded(Opened({weight, scale, marker("a", R"({"format": "no_such"})")})), Error,
                       HasCode(ErrorCode::kFailure, "no_such"));
}

}  // namespace ctq::quantized
