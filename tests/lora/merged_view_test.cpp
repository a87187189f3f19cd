// A checkpoint with adapters merged, tensor by tensor.
#include "lora/merged_view.h"

#include <catch2/catch.hpp>

#include "lora/adapter_file.h"
#include "model/stored_type.h"
#include "support/matchers.h"

namespace ctq::lora {
namespace {

using namespace ctq::test;

Merge merge_of(const AdapterFile& file, double strength, const Opened& model) {
  return {file.adapter.get(), strength, match(*file.adapter, model.checkpoint, {}).matched};
}

}  // namespace

TEST_CASE("merged view: adapters add up in float32, the rest is untouched", "[lora]") {
  const at::Tensor w = normal({6, 8}, 1).to(at::kBFloat16), bias = normal({6}, 2).to(at::kHalf);
  const Opened model({stored("a.weight", w), stored("a.bias", bias), stored("b.weight", normal({4, 4}, 3))},
                     {{"title", "t"}});
  const at::Tensor a = normal({2, 8}, 4), b = normal({6, 2}, 5), d = normal({6, 8}, 6), db = normal({6}, 7);
  const AdapterFile first({stored("a.lora_A.weight", a), stored("a.lora_B.weight", b)});
  const AdapterFile second({stored("lora_unet_a.diff", d), stored("lora_unet_a.diff_b", db)});
  const MergedView view(model.checkpoint, {merge_of(first, 2, model), merge_of(second, -0.5, model)});

  const auto* weight = view.checkpoint().find("a.weight");
  REQUIRE(weight != nullptr);
  CHECK(weight->info->dtype == safetensors::Dtype::kBF16);
  const at::Tensor merged = model::load(*weight), expected = w.to(at::kFloat) + 2 * b.mm(a) - 0.5 * d;
  CHECK(merged.scalar_type() == at::kFloat);
  CHECK((merged - expected).abs().max().item<float>() < 2e-6);
  CHECK(model::in_stored_type(*weight, merged).equal(merged.to(at::kBFloat16)));
  CHECK((model::load(*view.checkpoint().find("a.bias")) - (bias.to(at::kFloat) - 0.5 * db))
            .abs()
            .max()
            .item<float>() < 1e-6);
  CHECK(view.checkpoint().find("b.weight")->computed == nullptr);
  CHECK(view.checkpoint().metadata().at("title") == "t");
  CHECK(model::load(*model.checkpoint.find("a.weight")).equal(w));
  CHECK(view.changed().at("a.weight") == std::vector<std::string>{"a", "lora_unet_a"});
  CHECK(view.changed().size() == 2);
}

TEST_CASE("merged view: split layers change their rows of a fused weight, magnitudes too", "[lora]") {
  const at::Tensor w = normal({12, 5}, 1);
  const Opened model({stored("blk.qkv.weight", w), stored("blk.qkv.bias", at::zeros({12}))});
  std::vector<TestTensor> tensors;
  std::vector<at::Tensor> parts;
  for (const std::string name : {"to_q", "to_k", "to_v"}) {
    const at::Tensor a = normal({2, 5}, parts.size() + 10), b = normal({4, 2}, parts.size() + 20);
    tensors.push_back(stored("transformer.blk." + name + ".lora_A.weight", a));
    tensors.push_back(stored("transformer.blk." + name + ".lora_B.weight", b));
    parts.push_back(w.narrow(0, static_cast<int64_t>(parts.size()) * 4, 4) + b.mm(a));
  }
  const at::Tensor m = normal({4, 1}, 30).abs(), db = normal({4}, 31);
  tensors.push_back(stored("transformer.blk.to_v.dora_scale", m));
  tensors.push_back(stored("transformer.blk.to_k.diff_b", db));
  parts[2] = parts[2] * m / parts[2].square().sum(1, /*keepdim=*/true).sqrt();
  const AdapterFile file(tensors);
  const MergedView view(model.checkpoint, {merge_of(file, 1, model)});
  CHECK((model::load(*view.checkpoint().find("blk.qkv.weight")) - at::cat(parts)).abs().max().item<float>() <
        2e-6);
  CHECK(model::load(*view.checkpoint().find("blk.qkv.bias"))
            .equal(at::cat({at::zeros({4}), db, at::zeros({4})})));
}

TEST_CASE("in_stored_type: values beyond the type are refused by name, others keep their infinities",
          "[lora]") {
  const Opened model({stored("a.weight", at::zeros({1, 2}, at::kHalf))});
  const auto& entry = *model.checkpoint.find("a.weight");
  CHECK_THROWS_MATCHES(model::in_stored_type(entry, at::tensor({1e5f, 0.0f})), Error,
                       HasCode(ErrorCode::kFailure, "a.weight", "F16"));
  CHECK(model::in_stored_type(entry, at::tensor({INFINITY, 1.0f})).isinf().sum().item<int64_t>() == 1);
}

TEST_CASE("merged view: a change whose halves are in the other order goes to their places, magnitudes too",
          "[lora]") {
  const at::Tensor w = normal({12, 6}, 1), theirs = w.roll(6, 0), bias = normal({12}, 5);
  const Opened model({stored("final_layer.adaLN_modulation.1.weight", w),
                      stored("final_layer.adaLN_modulation.1.bias", bias)});
  const Opened diffusers(
      {stored("norm_out.linear.weight", theirs), stored("norm_out.linear.bias", bias.roll(6, 0))});
  const std::string layer = "transformer.norm_out.linear";
  const AdapterFile file({stored(layer + ".lora_A.weight", normal({2, 6}, 2)),
                          stored(layer + ".lora_B.weight", normal({12, 2}, 3)),
                          stored(layer + ".lora_magnitude_vector", normal({12}, 4).abs()),
                          stored(layer + ".diff_b", normal({12}, 6))});
  const MergedView ours(model.checkpoint, {merge_of(file, 1, model)}),
      other(diffusers.checkpoint, {merge_of(file, 1, diffusers)});
  const at::Tensor merged = model::load(*ours.checkpoint().find("final_layer.adaLN_modulation.1.weight"));
  CHECK_FALSE(merged.equal(w));
  CHECK(merged.equal(model::load(*other.checkpoint().find("norm_out.linear.weight")).roll(6, 0)));
  CHECK(model::load(*ours.checkpoint().find("final_layer.adaLN_modulation.1.bias"))
            .equal(model::load(*other.checkpoint().find("norm_out.linear.bias")).roll(6, 0)));
}

}  // namespace ctq::lora
