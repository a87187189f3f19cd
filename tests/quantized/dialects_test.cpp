// Layers of other programs: found by their tensors, decoded as the programs' own libraries do.
#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <catch2/catch.hpp>

#include "format/codec.h"
#include "format/swizzle.h"
#include "quantized/decode.h"
#include "quantized/decoded_view.h"
#include "quantized/evidence.h"
#include "quantized/sdnq.h"
#include "support/matchers.h"
#include "support/quantized_checkpoint.h"

namespace ctq::quantized {
namespace {

using namespace ctq::test;
using safetensors::Dtype;

struct Golden {
  std::string name;
  Dialect dialect;
};

std::string golden(const std::string& name) {
  return std::string(CTQ_TEST_GOLDEN) + "/dialects/" + name + ".safetensors";
}

TestTensor i32(std::string name, std::vector<int64_t> shape, const std::vector<int32_t>& values) {
  return tensor(std::move(name), Dtype::kI32, std::move(shape),
                {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(int32_t)});
}

TestTensor bytes(std::string name, Dtype dtype, std::vector<int64_t> shape, std::string values = "") {
  if (values.empty()) values.assign(safetensors::tensor_bytes(dtype, shape).value(), '\1');
  return tensor(std::move(name), dtype, std::move(shape), std::move(values));
}

at::Tensor only(const Opened& opened) {
  REQUIRE(opened.file.layers.size() == 1);
  return decode(opened.file, opened.file.layers.front());
}

/// E4M3 codes of random values.
at::Tensor fp8_codes(int64_t rows, int64_t columns) {
  return at::randn({rows, columns}, at::detail::createCPUGenerator(9)).to(at::kFloat8_e4m3fn);
}

std::string fault_of(const std::vector<TestTensor>& tensors) {
  const Opened opened(tensors);
  REQUIRE(opened.file.layers.size() == 1);
  CHECK_THROWS_AS(require_decodable(opened.file.layers.front()), Error);
  return std::string(opened.file.layers.front().dialect_label()) + ": " + opened.file.layers.front().fault;
}

}  // namespace

TEST_CASE("dialects: what a library stored is what it decodes", "[quantized][dialects]") {
  const auto sample = GENERATE(values<Golden>({
      {"bitsandbytes_nf4", Dialect::kBitsandbytes},
      {"bitsandbytes_nf4_double", Dialect::kBitsandbytes},
      {"bitsandbytes_fp4", Dialect::kBitsandbytes},
      {"bitsandbytes_fp4_double", Dialect::kBitsandbytes},
      {"bitsandbytes_int8", Dialect::kBitsandbytes},
      {"quanto_qint8", Dialect::kQuanto},
      {"quanto_qfloat8_e4m3fn", Dialect::kQuanto},
      {"quanto_qint4", Dialect::kQuanto},
      {"quanto_qint2", Dialect::kQuanto},
      {"torchao_int8", Dialect::kTorchao},
      {"torchao_float8", Dialect::kTorchao},
      {"torchao_intx", Dialect::kTorchao},
      {"compressed_tensors_pack4", Dialect::kCompressedTensors},
      {"compressed_tensors_pack3", Dialect::kCompressedTensors},
      {"compressed_tensors_pack4_asymmetric", Dialect::kCompressedTensors},
      {"compressed_tensors_int8_asymmetric", Dialect::kCompressedTensors},
      {"compressed_tensors_nvfp4", Dialect::kCompressedTensors},
      {"compressed_tensors_float8", Dialect::kUnmarked},
      {"sdnq/int8", Dialect::kPlainScale},
      {"sdnq/float8", Dialect::kPlainScale},
      {"sdnq/uint8", Dialect::kPlainScale},
      {"sdnq/int8_runs", Dialect::kPlainScale},
      {"sdnq/int8_transposed", Dialect::kPlainScale},
      {"sdnq/int8_svd", Dialect::kPlainScale},
      {"sdnq_rotated/int8", Dialect::kPlainScale},
      {"sdnq_rotated/int8_96", Dialect::kPlainScale},   // runs of 32
      {"sdnq_rotated/int8_256", Dialect::kPlainScale},  // a power of 4
      {"sdnq_rotated/int8_512", Dialect::kPlainScale},  // two runs of 256
      {"sdnq_rotated/float8", Dialect::kPlainScale},
      {"sdnq_rotated/uint8", Dialect::kPlainScale},
      {"sdnq_rotated/int8_runs", Dialect::kPlainScale},
      {"sdnq_rotated/int8_transposed", Dialect::kPlainScale},
      {"sdnq_rotated/int8_svd", Dialect::kPlainScale},
      {"hqq_8", Dialect::kHqq},
      {"hqq_4", Dialect::kHqq},
      {"hqq_2", Dialect::kHqq},
      {"mxfp4_experts", Dialect::kMxfp4},
  }));
  CAPTURE(sample.name);
  const auto checkpoint = model::Checkpoint::open(golden(sample.name));
  const QuantizedFile file = find_layers(checkpoint);
  REQUIRE(file.layers.size() == 1);
  CHECK(file.layers.front().dialect == sample.dialect);
  CHECK(file.strays.empty());
  CHECK(evidence(file).size() == 1);
  const DecodedView view(file);
  const auto truth = model::Checkpoint::open(golden(sample.name + ".truth"));
  const model::Checkpoint::Entry& expected = truth.entries().front();
  const model::Checkpoint::Entry* plain = view.checkpoint().find(expected.name());
  REQUIRE(plain);
  CHECK(view.checkpoint().entries().size() == (view.checkpoint().find("blk.0.q.bias") ? 2 : 1));
  CHECK(plain->info->shape == expected.info->shape);
  const at::Tensor decoded = model::load(*plain), right = model::load(expected);
  // Sums of products (SVD, rotation) and of a zero point are taken in another order by the library.
  const bool sums = sample.name == "sdnq/int8_svd" || sample.name == "sdnq/uint8" ||
                    sample.name.starts_with("sdnq_rotated/");
  CHECK((sums ? at::allclose(decoded, right, 0, 1e-7) : at::equal(decoded, right)));
}

TEST_CASE("dialects: weight_scale_inv is multiplied, the last blocks may be cut off",
          "[quantized][dialects]") {
  const auto [rows, columns] =
      GENERATE(std::pair<int64_t, int64_t>(256, 256), std::pair<int64_t, int64_t>(192, 320));
  const at::Tensor codes = fp8_codes(rows, columns),
                   scale = at::rand({(rows + 127) / 128, (columns + 127) / 128}) + 0.5;
  const at::Tensor spread =
      scale.repeat_interleave(128, 0).repeat_interleave(128, 1).narrow(0, 0, rows).narrow(1, 0, columns);
  const Opened opened(
      {stored("a.weight", codes), stored("a.weight_scale_inv", scale), bf16_vector("a.bias", rows)});
  CHECK(opened.file.layers.front().dialect == Dialect::kScaleInv);
  CHECK(at::equal(only(opened), codes.to(at::kFloat) * spread));
  CHECK(DecodedView(opened.file).checkpoint().entries().size() == 2);
  CHECK(evidence(opened.file) == std::map<std::string, std::string>{{"a", "has a.weight_scale_inv"}});
}

TEST_CASE("dialects: a bank of experts has scales of its own names", "[quantized][dialects]") {
  const at::Tensor codes = at::stack({fp8_codes(128, 256), fp8_codes(128, 256)});
  const at::Tensor scale = at::tensor({1.f, 2.f, 3.f, 4.f}).reshape({2, 1, 2});
  const Opened opened(
      {stored("mlp.experts.gate_up_proj", codes), stored("mlp.experts.gate_up_proj_scale_inv", scale)});
  CHECK(at::equal(only(opened), codes.to(at::kFloat) * scale.repeat_interleave(128, 2)));
  CHECK(DecodedView(opened.file).checkpoint().find("mlp.experts.gate_up_proj"));
}

TEST_CASE("dialects: scale beside codes, as numbers, blocks and exponents", "[quantized][dialects]") {
  const at::Tensor codes = fp8_codes(256, 256);
  CHECK(at::equal(only(Opened({stored("a.weight", codes), f32("a.scale", {}, {0.5})})),
                  codes.to(at::kFloat) * 0.5));
  const at::Tensor blocks =
      at::tensor({2.f, 4.f, 8.f, 1.f}).reshape({2, 2}).repeat_interleave(128, 0).repeat_interleave(128, 1);
  CHECK(at::equal(
      only(Opened({stored("a.weight", codes), bytes("a.scale", Dtype::kF8E8M0, {2, 2}, "\x80\x81\x82\x7f")})),
      codes.to(at::kFloat) * blocks));
  // A norm's scale beside a plain weight belongs to the model.
  const Opened plain({bf16_weight("norm.weight", 8, 8), f32("norm.scale", {8}, std::vector<float>(8, 1))});
  CHECK(plain.file.layers.empty());
  CHECK(evidence(plain.file).empty());
}

TEST_CASE("dialects: what SDNQ may have rotated is not decoded where no configuration says so",
          "[quantized][dialects]") {
  struct Shapes {
    std::vector<int64_t> codes, scale;
    bool may_be_rotated;
  };
  const auto [codes, scale, may_be_rotated] = GENERATE(values<Shapes>({
      {{8, 64}, {8, 1}, true},                    // rows
      {{64, 8}, {1, 8}, true},                    // the same, stored the other way round
      {{8, 64}, {1, 1}, true},                    // one scale
      {{8, 4, 16}, {8, 4, 1}, true},              // runs
      {{8, 64, 3, 3}, {8, 1, 3, 3}, true},        // a convolution
      {{8, 4, 16, 3, 3}, {8, 4, 1, 3, 3}, true},  // a convolution in runs
      {{8, 62}, {8, 1}, false},                   // 4 does not divide its columns
      {{8, 64}, {8}, false},                      // SDNQ keeps dimensions
      {{256, 256}, {2, 2}, false},                // blocks
  }));
  CAPTURE(codes, scale);
  const std::vector<TestTensor> tensors{bytes("a.weight", Dtype::kI8, codes),
                                        stored("a.scale", at::ones(scale))};
  CHECK((Opened(tensors).file.layers.front().fault.find("only the configuration says") == 0) ==
        may_be_rotated);
  const auto fault_with = [&](const std::string& configuration) {
    return Opened(tensors, {{"quantization_config", configuration}}).file.layers.front().fault;
  };
  CHECK(fault_with(R"({"quant_method": "sdnq", "use_hadamard": false})").empty());
  CHECK(fault_with(R"({"quant_method": "sdnq", "use_hadamard": true})").empty());
}

TEST_CASE("dialects: SDNQ's configuration says of each module whether its columns are rotated",
          "[quantized][dialects]") {
  const std::vector<TestTensor> tensors{bytes("a.q.weight", Dtype::kI8, {8, 96}),
                                        stored("a.q.scale", at::ones({8, 1}))};
  const auto layer_with = [&](const std::string& rest) {
    return Opened(tensors, {{"quantization_config", R"({"quant_method": "sdnq", )" + rest + "}"}})
        .file.layers.front();
  };
  CHECK(layer_with(R"("use_hadamard": true)").rotated_run == 32);
  CHECK(layer_with(R"("use_hadamard": true, "hadamard_group_size": 16)").rotated_run == 16);
  CHECK(layer_with(R"("use_hadamard": true, "hadamard_group_size": 2)").rotated_run == 0);
  const auto by_module = [&](const std::string& key) {
    return layer_with(R"("use_hadamard": false, "modules_quant_config": {")" + key +
                      R"(": {"use_hadamard": true}})")
               .rotated_run > 0;
  };
  // The whole name, a part of it, a beginning, any text for '*'.
  for (const char* key : {"a.q.weight", "q", "a", ".a.q", "a.*", "*q", "*.q.*"}) {
    CAPTURE(key);
    CHECK(by_module(key));
  }
  for (const char* key : {"a.q", "k", ".q", "b.*", "*.k.*"}) {
    CAPTURE(key);
    CHECK_FALSE(by_module(key));
  }
  CHECK(layer_with(R"("modules_quant_config": {"a": {"use_hadamard": true}, "q": {"use_hadamard": false}})")
            .fault.find("several entries") == 0);
  CHECK(layer_with(R"("use_codebook": true)").fault.find("use_codebook") != std::string::npos);
  // The matrix of powers of 4 was another one up to 0.2.0.
  const std::string old = R"("use_hadamard": true, "sdnq_version": "0.2.0", "hadamard_group_size": )";
  CHECK(layer_with(old + "16").fault.find("before 0.2.1") != std::string::npos);
  CHECK(layer_with(old + "32").fault.empty());
}

TEST_CASE("dialects: a file that SDNQ rotated has the tensors of one that it did not",
          "[quantized][dialects]") {
  const TempDir dir;
  const std::string rotated = golden("sdnq_rotated/int8"), alone = dir / "int8.safetensors";
  std::filesystem::copy_file(rotated, alone);
  const auto checkpoint = model::Checkpoint::open(alone);
  const QuantizedFile file = find_layers(checkpoint);
  CHECK_THROWS_MATCHES(decode(file, file.layers.front()), Error,
                       HasCode(ErrorCode::kBadInput, "blk.0.q", "only the configuration says",
                               "where another program wrote it, a quantization_config.json"));
  // As products with the scale its codes are another weight.
  const auto truth = model::Checkpoint::open(golden("sdnq_rotated/int8.truth"));
  const at::Tensor product = model::load(*checkpoint.find("blk.0.q.weight")).to(at::kFloat) *
                             model::load(*checkpoint.find("blk.0.q.scale")),
                   weight = model::load(*truth.find("blk.0.q.weight"));
  CHECK((product - weight).norm().item<float>() > weight.norm().item<float>());
  // The way out that the refusal names.
  write_file(dir / "quantization_config.json", R"({"use_hadamard": false})");
  const auto told = model::Checkpoint::open(alone);
  const QuantizedFile decoded = find_layers(told);
  CHECK(at::equal(decode(decoded, decoded.layers.front()), product));
}

TEST_CASE("dialects: a scale per row that SDNQ cannot have written is a product with its codes",
          "[quantized][dialects]") {
  const auto fault = [](const std::string& prefix, const std::vector<TestTensor>& more) {
    std::vector<TestTensor> tensors{bytes(prefix + "a.weight", Dtype::kI8, {8, 64}),
                                    stored(prefix + "a.scale", at::ones({8, 1}))};
    tensors.insert(tensors.end(), more.begin(), more.end());
    return Opened(tensors).file.layers.front().fault;
  };
  CHECK(fault("", {}).find("only the configuration says") == 0);
  CHECK(fault("", {bf16_vector("a.bias", 8)}).find("only the configuration says") == 0);
  // A prefix of ComfyUI's, a tensor beside the codes, another layer's scale.
  CHECK(fault("model.diffusion_model.", {}).empty());
  CHECK(fault("", {stored("a.input_scale", at::ones({}))}).empty());
  CHECK(fault("", {stored("a.smooth", at::ones({64}))}).empty());
  CHECK(fault("", {bytes("b.weight", Dtype::kI8, {8, 64}), stored("b.scale", at::ones({8}))}).empty());
  CHECK(fault("", {bytes("b.weight", Dtype::kF8E4M3, {256, 256}), stored("b.scale", at::ones({2, 2}))})
            .empty());
  // SDNQ's own parts in another layer.
  CHECK(fault("", {bytes("b.weight", Dtype::kI8, {8, 64}), stored("b.scale", at::ones({8})),
                   stored("b.svd_up", at::ones({8, 2})), stored("b.svd_down", at::ones({2, 64}))})
            .find("only the configuration says") == 0);
}

TEST_CASE("dialects: columns of sizes of their own are not rotated", "[quantized][dialects]") {
  // As trained weights have them: every column its own size.
  const auto faults = [](const std::vector<int64_t>& runs) {
    std::vector<TestTensor> tensors;
    for (size_t i = 0; i < runs.size(); ++i) {
      at::Generator generator = at::detail::createCPUGenerator(i);
      at::Tensor weight = at::randn({128, 512}, generator) * (0.5 * at::randn({512}, generator)).exp();
      if (runs[i] > 0) weight = sdnq::rotated_back(weight, runs[i]);
      const at::Tensor scale = weight.abs().amax(1, true) / 127;
      const std::string name = std::to_string(i);
      tensors.push_back(stored(name + ".weight", (weight / scale).round().to(at::kChar)));
      tensors.push_back(stored(name + ".scale", scale));
    }
    const Opened opened(tensors);
    return std::ranges::count_if(opened.file.layers, [](const Layer& layer) { return !layer.fault.empty(); });
  };
  CHECK(faults({0, 0, 0, 0}) == 0);
  CHECK(faults({0, 0, 0}) == 3);  // of too few layers
  for (const int64_t run : {4, 8, 16, 32, 128, 256, 512}) {
    CAPTURE(run);
    CHECK(faults({run, run, run, run}) == 4);
  }
  CHECK(faults({0, 0, 0, 0, 4}) == 5);
}

TEST_CASE("dialects: GPTQ stores in_features in words, zero points less one", "[quantized][dialects]") {
  // Eight rows of codes to a word, the first lowest: column 0 has 0..7, column 1 has 8..15.
  const std::vector<TestTensor> tensors{
      i32("a.qweight", {1, 8}, {0x76543210, static_cast<int32_t>(0xFEDCBA98u), 0, 0, 0, 0, 0, 0}),
      i32("a.qzeros", {2, 1}, {0x77777777, 0x33333333}),
      stored("a.scales", at::ones({2, 8}, at::kHalf) * 0.5), i32("a.g_idx", {8}, {0, 0, 0, 0, 1, 1, 1, 1})};
  const Opened opened(tensors);
  CHECK(opened.file.layers.front().dialect == Dialect::kGptq);
  const at::Tensor weight = only(opened);
  CHECK(weight.sizes() == at::IntArrayRef({8, 8}));
  CHECK(at::equal(weight[0], at::tensor({-4.f, -3.5f, -3.f, -2.5f, 0.f, 0.5f, 1.f, 1.5f})));
  CHECK(at::equal(weight[1], at::tensor({0.f, 0.5f, 1.f, 1.5f, 4.f, 4.5f, 5.f, 5.5f})));
  CHECK(evidence(opened.file) == std::map<std::string, std::string>{{"a", "is GPTQ (4 bits)"}});
}

TEST_CASE("dialects: AWQ stores out_features in words, even columns first", "[quantized][dialects]") {
  // Nibbles 0..7 hold columns 0 2 4 6 1 3 5 7.
  const Opened opened({i32("a.qweight", {2, 1}, {0x76543210, 0x11111111}), i32("a.qzeros", {1, 1}, {0}),
                       stored("a.scales", at::ones({1, 8}, at::kHalf) * 2)});
  CHECK(opened.file.layers.front().dialect == Dialect::kAwq);
  const at::Tensor weight = only(opened);
  CHECK(at::equal(weight.select(1, 0), at::tensor({0.f, 8.f, 2.f, 10.f, 4.f, 12.f, 6.f, 14.f})));
  CHECK(at::equal(weight.select(1, 1), at::full({8}, 2.f)));
}

TEST_CASE("dialects: NVFP4 without markers, in either order, as shapes or values tell",
          "[quantized][dialects]") {
  const format::Codec& codec = *format::find_codec("nvfp4", format::Granularity::kGroup);
  const bool in_rows = GENERATE(false, true);
  const auto [rows, columns] =
      GENERATE(std::pair<int64_t, int64_t>(256, 256), std::pair<int64_t, int64_t>(64, 96));
  CAPTURE(in_rows, rows, columns);
  // Rows differ in size, as in a trained weight.
  const at::Tensor weight = at::randn({rows, columns}, at::detail::createCPUGenerator(3)) *
                            at::rand({rows, 1}, at::detail::createCPUGenerator(4)).mul(3).exp();
  const format::Encoded encoded = format::encode_nearest(codec, weight, 0).value();
  const std::vector<at::Tensor> packed = format::pack(encoded);
  at::Tensor codes = packed[0], scales;
  std::vector<TestTensor> tensors;
  const auto announced = format::stored_tensors(codec, rows, columns, 0);
  for (size_t i = 0; i < packed.size(); ++i) {
    at::Tensor part = packed[i];
    if (in_rows && announced[i].role == "weight")
      part = part.bitwise_left_shift(4).bitwise_or(part.bitwise_right_shift(4));
    if (in_rows && announced[i].role == "weight_scale")
      part = format::unswizzle(part.view(at::kByte), rows, columns / 16).view(at::kFloat8_e4m3fn);
    tensors.push_back(stored(fmt::format("a.{}", announced[i].role), part));
  }
  const Opened opened(tensors);
  const Layer& layer = opened.file.layers.front();
  CHECK(layer.dialect == Dialect::kNvfp4);
  CHECK(layer.fault.empty());
  CHECK(at::equal(only(opened), format::decode(encoded)));
}

TEST_CASE("dialects: where nothing tells the order of scales, nothing is decoded", "[quantized][dialects]") {
  const at::Tensor scales = at::randint(40, 120, {256, 16}, at::detail::createCPUGenerator(1), at::kByte);
  const std::string fault = fault_of({bytes("a.weight", Dtype::kU8, {256, 128}),
                                      stored("a.weight_scale", scales.view(at::kFloat8_e4m3fn)),
                                      f32("a.weight_scale_2", {}, {1}), f32("a.input_scale", {}, {1})});
  CHECK(fault.find("NVFP4 without markers") == 0);
  CHECK(fault.find("--scale-order") != std::string::npos);
}

TEST_CASE("dialects: MXFP8 without markers has exponents for scales", "[quantized][dialects]") {
  const at::Tensor codes = fp8_codes(64, 96);
  std::string exponents(64 * 3, '\x7f');
  exponents[1] = '\x80';
  const Dtype type = GENERATE(Dtype::kU8, Dtype::kF8E8M0);
  const Opened opened({stored("a.weight", codes), bytes("a.weight_scale", type, {64, 3}, exponents)});
  CHECK(opened.file.layers.front().dialect == Dialect::kMxfp8);
  at::Tensor right = codes.to(at::kFloat);
  right[0].narrow(0, 32, 32).mul_(2);
  CHECK(at::equal(only(opened), right));
}

TEST_CASE("dialects: what is only recognised is refused by its name", "[quantized][dialects]") {
  CHECK(fault_of({bytes("a.qweight", Dtype::kI8, {64, 32}), bytes("a.wscales", Dtype::kBF16, {1, 64}),
                  bytes("a.proj_down", Dtype::kBF16, {64, 16}),
                  bytes("a.smooth_factor", Dtype::kBF16, {64})}) ==
        "nunchaku (SVDQuant): this version does not decode it");
  CHECK(fault_of({bytes("a.qweight", Dtype::kI8, {64, 64}), bytes("a.weight_scales", Dtype::kF16, {64})})
            .find("EETQ") == 0);
  CHECK(fault_of({bytes("a.q_weight", Dtype::kI32, {8, 64}), bytes("a.q_scale", Dtype::kI32, {8, 8})})
            .find("EXL2") != std::string::npos);
  CHECK(fault_of({bytes("a.weight", Dtype::kU8, {64, 16}), bytes("a.weight_scale", Dtype::kBF16, {1})})
            .find("unknown dialect") == 0);
  CHECK(fault_of({bytes("a.weight", Dtype::kF8E4M3, {64, 16}), bytes("a.weird_quant", Dtype::kBF16, {1})})
            .find("a.weird_quant") != std::string::npos);
  CHECK(fault_of({bytes("a.weight", Dtype::kU8, {1024}), bytes("a.scale", Dtype::kF32, {64, 1})})
            .find("packed (SDNQ)") != std::string::npos);
}

TEST_CASE("dialects: a layer that does not fit itself is named", "[quantized][dialects]") {
  const Opened opened({bytes("a.weight", Dtype::kI8, {4, 8}), bytes("a.SCB", Dtype::kF32, {3})});
  CHECK_THROWS_MATCHES(only(opened), Error,
                       HasCode(ErrorCode::kBadInput, "layer 'a'", "SCB [3] does not fit [4, 8]"));
  const Opened both({bytes("a._weight_qdata", Dtype::kI8, {4, 8}),
                     bytes("a._weight_scale", Dtype::kF32, {4, 1}), bytes("a.weight", Dtype::kBF16, {4, 8})});
  CHECK_THROWS_MATCHES(only(both), Error, HasCode(ErrorCode::kBadInput, "also holds 'a.weight'"));
}

TEST_CASE("dialects: a marker longer than any is not read", "[quantized][dialects]") {
  const Opened opened({bytes("a.weight", Dtype::kI8, {4, 8}), bytes("a.comfy_quant", Dtype::kU8, {1 << 20})});
  CHECK(opened.file.layers.front().marker_fault.find("which no marker is") != std::string::npos);
}

}  // namespace ctq::quantized
