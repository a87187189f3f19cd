#include "quantized/evidence.h"

#include <map>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "support/make_checkpoint.h"

namespace ctq::quantized {
namespace {

using ctq::test::bf16_vector;
using ctq::test::bf16_weight;
using ctq::test::f32_weight;
using ctq::test::TempDir;
using ctq::test::tensor;
using ctq::test::TestTensor;
using safetensors::Dtype;
using Found = std::map<std::string, std::string>;

Found found_in(const std::vector<TestTensor>& tensors, const safetensors::Metadata& metadata = {}) {
  const TempDir dir;
  ctq::test::make_checkpoint(dir / "m.safetensors", tensors, metadata);
  return find_quantized(model::Checkpoint::open(dir / "m.safetensors"));
}

TestTensor scale(std::string name) {
  return tensor(std::move(name), Dtype::kF32, {},
                ctq::test::elements<float>(1, [](int64_t) { return 1.0f; }));
}

TestTensor codes(std::string name, Dtype dtype) {
  const int64_t bytes = 16 * safetensors::dtype_bits(dtype) / 8;
  return tensor(std::move(name), dtype, {4, 4}, std::string(static_cast<size_t>(bytes), '\1'));
}

}  // namespace

TEST_CASE("quantized: a plain model gives none", "[quantized]") {
  CHECK(found_in({bf16_weight("a.weight", 8, 8), bf16_vector("a.bias", 8), f32_weight("b.weight", 4, 4),
                  tensor("c.weight", Dtype::kF16, {2, 2}, std::string(8, '\0')),
                  tensor("d.weight", Dtype::kF64, {2, 2}, std::string(32, '\0'))},
                 {{"format", "pt"}, {"quantization", "none"}})
            .empty());
}

TEST_CASE("quantized: side tensors name their layer and stand as evidence", "[quantized]") {
  const std::string suffix = GENERATE(as<std::string>(), "comfy_quant", "weight_scale", "scale_weight");
  const std::string name = "blk.0.to_q." + suffix;
  const Found found =
      found_in({bf16_weight("blk.0.to_q.weight", 4, 4), bf16_weight("blk.1.weight", 4, 4), scale(name)});
  CHECK(found == Found{{"blk.0.to_q", "has " + name}});
}

TEST_CASE("quantized: a 2-D weight of a code type is one", "[quantized]") {
  const Dtype dtype = GENERATE(Dtype::kI8, Dtype::kU8, Dtype::kF8E4M3, Dtype::kF8E5M2, Dtype::kF4);
  const Found found = found_in({codes("blk.0.weight", dtype), bf16_weight("blk.1.weight", 4, 4)});
  CHECK(found == Found{{"blk.0", "its weight is " + std::string(safetensors::dtype_name(dtype))}});
}

TEST_CASE("quantized: integers, booleans and tensors that are no 2-D weight are none", "[quantized]") {
  CHECK(found_in({codes("ids.weight", Dtype::kI64), codes("mask.weight", Dtype::kBool),
                  codes("exponents.weight", Dtype::kF8E8M0), codes("table", Dtype::kU8),
                  tensor("side.weight", Dtype::kU8, {16}, std::string(16, '\1')),
                  tensor("comfy_attention.config", Dtype::kU8, {2}, "{}"),
                  tensor("conv.weight", Dtype::kF8E4M3, {1, 1, 2, 2}, std::string(4, '\1')),
                  tensor("none.weight", Dtype::kI8, {0, 4}, "")})
            .empty());
}

TEST_CASE("quantized: names that only resemble a side tensor are none", "[quantized]") {
  CHECK(found_in({scale("a.weight_scale.b"), scale("a.weight_scale_2"), scale("a_weight_scale"),
                  scale("comfy_quant"), scale("my_scaled_fp8"), scale("scaled_fp8.weight"),
                  scale("a.scale_weights")})
            .empty());
}

TEST_CASE("quantized: the marker of a scaled FP8 file, with and without prefix", "[quantized]") {
  const std::string name = GENERATE(as<std::string>(), "scaled_fp8", "model.diffusion_model.scaled_fp8");
  const Found found = found_in({bf16_weight("a.weight", 4, 4), tensor(name, Dtype::kF8E4M3, {0}, "")});
  CHECK(found == Found{{name, "marks a scaled FP8 file"}});
}

TEST_CASE("quantized: the header's map", "[quantized]") {
  const Found found = found_in({bf16_weight("a.weight", 4, 4)}, {{"_quantization_metadata", "{}"}});
  CHECK(found == Found{{"_quantization_metadata", "stands in the header"}});
}

TEST_CASE("quantized: a layer with several kinds of evidence counts once", "[quantized]") {
  const Found found =
      found_in({codes("a.weight", Dtype::kI8), scale("a.weight_scale"),
                tensor("a.comfy_quant", Dtype::kU8, {2}, "{}"), codes("b.weight", Dtype::kF8E4M3),
                scale("b.scale_weight"), tensor("scaled_fp8", Dtype::kF8E4M3, {2}, "ab")});
  REQUIRE(found.size() == 3);
  CHECK(found.contains("a"));
  CHECK(found.contains("b"));
  CHECK(found.contains("scaled_fp8"));
}

}  // namespace ctq::quantized
