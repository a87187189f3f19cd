// Which layers an adapter covers, and how much of the error it takes up.
#include "lora/extract.h"

#include <cmath>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "format/codec.h"
#include "linalg/svd.h"
#include "quantized/decode.h"
#include "safetensors/reader.h"
#include "support/matchers.h"
#include "support/quantized_checkpoint.h"

namespace ctq::lora {
namespace {

using namespace ctq::test;

/// A weight, and the same coarsely rounded to INT8 with one scale.
struct Pair {
  explicit Pair(const std::string& layer, int64_t rows, int64_t columns)
      : weight(at::randn({rows, columns}, at::detail::createCPUGenerator(3))),
        original({stored(layer + ".weight", weight)}),
        quantized({stored(layer + ".weight", (weight / kStep).round().to(at::kChar)),
                   f32(layer + ".weight_scale", {}, {kStep}),
                   marker(layer, R"({"format": "int8_tensorwise"})")}) {}

  static constexpr float kStep = 0.5;
  at::Tensor weight;
  Opened original, quantized;
};

}  // namespace

TEST_CASE("extract: the sum is as near as the SVD of the error promises", "[lora]") {
  const Pair pair("blocks.0.attn.qkv", 192, 96);
  const int64_t rank = GENERATE(1, 32, 96, 500);
  CAPTURE(rank);
  ExtractOptions options;
  options.rank = rank;
  const TempDir dir;
  const auto layers = extract(pair.original.file, pair.quantized.file, options, dir / "lora.safetensors");
  REQUIRE(layers.size() == 1);
  const int64_t kept = std::min<int64_t>(rank, 96);
  CHECK(layers[0].rank == kept);

  const at::Tensor error =
      pair.weight - quantized::decode(pair.quantized.file, pair.quantized.file.layers[0]);
  const at::Tensor singular = linalg::thin_svd(error, 96).s.to(at::kDouble);
  const double whole = pair.weight.square().sum(at::kDouble).sqrt().item<double>();
  const double promised =
      kept == 96 ? 0 : std::sqrt(singular.narrow(0, kept, 96 - kept).square().sum().item<double>()) / whole;
  CHECK(layers[0].error_before == Approx(error.square().sum(at::kDouble).sqrt().item<double>() / whole));
  CHECK(layers[0].error_after <= promised * 1.02 + 1e-6);  // the decomposition is randomized
  CHECK(layers[0].error_after >= promised * 0.999 - 1e-6);

  const model::Checkpoint adapter = model::Checkpoint::open(dir / "lora.safetensors");
  const auto* up = adapter.find("diffusion_model.blocks.0.attn.qkv.lora_up.weight");
  const auto* down = adapter.find("diffusion_model.blocks.0.attn.qkv.lora_down.weight");
  REQUIRE((up && down));
  CHECK(adapter.entries().size() == 2);
  CHECK(up->info->shape == std::vector<int64_t>{192, kept});
  CHECK(down->info->shape == std::vector<int64_t>{kept, 96});
  const at::Tensor left = error - model::load(*up).mm(model::load(*down));
  CHECK(left.square().sum(at::kDouble).sqrt().item<double>() / whole ==
        Approx(layers[0].error_after).margin(1e-6));
}

TEST_CASE("extract: an adapter is added behind the factors of the layer's input", "[lora]") {
  const at::Generator generator = at::detail::createCPUGenerator(4);
  const at::Tensor weight = at::randn({32, 64}, generator), factors = at::rand({64}, generator) * 4 + 0.25;
  const format::Codec& codec = *format::find_codec("nvfp4", format::Granularity::kGroup);
  const std::vector<at::Tensor> packed =
      format::pack(format::encode_nearest(codec, weight / factors, 0).value());
  const auto announced = format::stored_tensors(codec, 32, 64, 0);
  const std::string layer = "blocks.0.attn.qkv";
  std::vector<TestTensor> tensors{marker(layer, R"({"format": "nvfp4", "orig_shape": [32, 64]})"),
                                  stored(layer + ".pre_quant_scale", factors)};
  for (size_t i = 0; i < packed.size(); ++i)
    tensors.push_back(stored(fmt::format("{}.{}", layer, announced[i].role), packed[i]));
  const Opened original({stored(layer + ".weight", weight)}), quantized(tensors);
  ExtractOptions options;
  options.rank = 32;
  const TempDir dir;
  const auto layers = extract(original.file, quantized.file, options, dir / "lora.safetensors");
  REQUIRE(layers.size() == 1);
  CHECK(layers[0].error_before > 0.05);
  CHECK(layers[0].error_after < 1e-5);
  const model::Checkpoint adapter = model::Checkpoint::open(dir / "lora.safetensors");
  const std::string stem = "diffusion_model." + layer;
  const at::Tensor added = model::load(*adapter.find(stem + ".lora_up.weight"))
                               .mm(model::load(*adapter.find(stem + ".lora_down.weight")));
  const at::Tensor codes = quantized::decode(quantized.file, quantized.file.layers[0]) / factors;
  const at::Tensor x = at::randn({5, 64}, generator);
  CHECK(at::allclose((x * factors).mm((codes + added).t()), x.mm(weight.t()), 1e-4, 1e-3));
}

TEST_CASE("extract: the adapter's type, and files that do not belong together", "[lora]") {
  const Pair pair("model.diffusion_model.blocks.0.attn.qkv", 64, 64);
  const TempDir dir;
  ExtractOptions options;
  options.rank = 4;
  options.dtype = safetensors::Dtype::kBF16;
  extract(pair.original.file, pair.quantized.file, options, dir / "lora.safetensors");
  const safetensors::Reader adapter(dir / "lora.safetensors");
  REQUIRE(adapter.find("diffusion_model.blocks.0.attn.qkv.lora_up.weight") != nullptr);
  CHECK(adapter.find("diffusion_model.blocks.0.attn.qkv.lora_up.weight")->dtype == safetensors::Dtype::kBF16);
  options.depth = 0;
  CHECK_THROWS_MATCHES(extract(pair.original.file, pair.quantized.file, options, dir / "x"), Error,
                       HasCode(ErrorCode::kFailure, "--lora-depth"));
  const Opened other({bf16_weight("blocks.0.attn.qkv.weight", 64, 64)});
  CHECK_THROWS_MATCHES(extract(other.file, pair.quantized.file, ExtractOptions{}, dir / "x"), Error,
                       HasCode(ErrorCode::kBadInput, "has no weight"));
}

TEST_CASE("wants: block, shape and name decide", "[lora]") {
  ExtractOptions options;
  CHECK(wants(options, "blocks.0.mlp.weight", 100, 250));
  CHECK(wants(options, "blocks.0.mlp.weight", 100, 350));  // block 0
  CHECK_FALSE(wants(options, "blocks.0.mlp.weight", 100, 450));
  CHECK_FALSE(wants(options, "blocks.1.mlp.weight", 100, 100));
  CHECK_FALSE(wants(options, "final_layer.weight", 100, 100));
  options.depth = 5;
  CHECK(wants(options, "blocks.4.mlp.weight", 100, 100));
  CHECK_FALSE(wants(options, "blocks.4.mlp.weight", 100, 350));
  CHECK(wants(options, "blocks.4.attn.weight", 350, 100));
  CHECK_FALSE(wants(options, "blocks.40.attn.weight", 100, 100));
  options.aspect_threshold = 4.2;
  CHECK(wants(options, "blocks.4.mlp.weight", 100, 410));
  CHECK_FALSE(wants(options, "blocks.4.mlp.weight", 100, 420));
  options.always = [](const std::string& name) { return name.find("final") != std::string::npos; };
  CHECK(wants(options, "final_layer.weight", 100, 10000));
}

TEST_CASE("adapter_name: one prefix, whatever the checkpoint has", "[lora]") {
  for (const char* layer : {"a.b", "diffusion_model.a.b", "model.diffusion_model.a.b"})
    CHECK(adapter_name(layer) == "diffusion_model.a.b");
}

}  // namespace ctq::lora
