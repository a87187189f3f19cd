// Tensor names of every dialect, factors from every source, and what is refused.
#include "lora/adapter.h"

#include <cmath>
#include <tuple>

#include <catch2/catch.hpp>

#include "lora/adapter_file.h"
#include "lora/delta.h"
#include "support/matchers.h"

namespace ctq::lora {
namespace {

using namespace ctq::test;

std::vector<TestTensor> pair_of(const std::string& layer) {
  return {stored(layer + ".lora_A.weight", normal({4, 6})), stored(layer + ".lora_B.weight", normal({8, 4}))};
}

void refused(const std::vector<TestTensor>& tensors, const std::string& word,
             const safetensors::Metadata& metadata = {}) {
  CAPTURE(word);
  CHECK_THROWS_MATCHES(AdapterFile(tensors, metadata), Error, HasCode(ErrorCode::kBadInput, word));
}

}  // namespace

TEST_CASE("part_of: the names of every dialect", "[lora]") {
  const auto [name, layer, part] = GENERATE(table<std::string, std::string, Part>({
      {"lora_unet_a_b.lora_down.weight", "lora_unet_a_b", Part::kDown},
      {"lora_unet_a_b.lora_up.weight", "lora_unet_a_b", Part::kUp},
      {"lora_unet_a_b.lora_mid.weight", "lora_unet_a_b", Part::kMid},
      {"lora_unet_a_b.alpha", "lora_unet_a_b", Part::kAlpha},
      {"transformer.a.b.lora_A.weight", "transformer.a.b", Part::kDown},
      {"base_model.model.a.lora_B.default.weight", "base_model.model.a", Part::kUp},
      {"a.b.lora_A", "a.b", Part::kDown},
      {"a.lora_B.bias", "a", Part::kUpBias},
      {"a.lora_B.default.bias", "a", Part::kUpBias},
      {"a.lora_magnitude_vector", "a", Part::kMagnitude},
      {"a.lora_magnitude_vector.default.weight", "a", Part::kMagnitude},
      {"unet.a.processor.to_q_lora.down.weight", "unet.a.processor.to_q", Part::kDown},
      {"a.lora.up.weight", "a", Part::kUp},
      {"a.lora_linear_layer.down.weight", "a", Part::kDown},
      {"a.down.weight", "a", Part::kDown},
      {"a.dora_scale", "a", Part::kDoraScale},
      {"a.diff", "a", Part::kDiff},
      {"a.w_norm", "a", Part::kDiff},
      {"a.diff_b", "a", Part::kDiffBias},
      {"a.b_norm", "a", Part::kDiffBias},
      {"a.hada_w1_a", "a", Part::kHadaW1A},
      {"a.hada_t2", "a", Part::kHadaT2},
      {"a.lokr_w1", "a", Part::kLokrW1},
      {"a.lokr_w2_b", "a", Part::kLokrW2B},
      {"a.lokr_t2", "a", Part::kLokrT2},
  }));
  CAPTURE(name);
  const auto found = part_of(name);
  REQUIRE(found);
  CHECK(found->layer == layer);
  CHECK(found->part == part);
}

TEST_CASE("part_of: what is no part of an adapter that can be merged", "[lora]") {
  const std::string name = GENERATE("blk.0.weight", "a.bias", "a.lora_A.bias", "a.oft_blocks", "a.a1.weight",
                                    "a.on_input", "a.reshape_weight", "a.lora_embedding_A", "emb_params",
                                    "a.lora_down.x.y.weight", "lora_A", ".alpha");
  CAPTURE(name);
  CHECK_FALSE(part_of(name));
}

TEST_CASE("adapter: alpha is a tensor, else the header's, else PEFT's, else the rank", "[lora]") {
  const std::string peft =
      R"({"transformer.lora_alpha": 6, "transformer.r": 4, "transformer.use_rslora": true,)"
      R"( "transformer.alpha_pattern": {"b.x": 3}, "text_encoder.lora_alpha": 40})";
  const safetensors::Metadata all{
      {"transformer_a_x_alpha", "2"}, {"lora_adapter_metadata", peft}, {"network_alpha", "1"}};
  std::vector<TestTensor> tensors;
  for (const char* layer : {"transformer.a.x", "transformer.b.x", "transformer.c.x", "other.x", "told.x"}) {
    for (TestTensor& made : pair_of(layer)) tensors.push_back(std::move(made));
  }
  tensors.push_back(scalar("told.x.alpha", 10));
  const AdapterFile file(tensors, all);
  std::map<std::string, double> factors;
  for (const AdapterLayer& layer : file.adapter->layers()) factors[layer.name] = layer.factor;
  CHECK(factors.at("told.x") == Approx(10.0 / 4));
  CHECK(factors.at("transformer.a.x") == Approx(2.0 / 4));
  CHECK(factors.at("transformer.b.x") == Approx(3 / std::sqrt(4.0)));
  CHECK(factors.at("transformer.c.x") == Approx(6 / std::sqrt(4.0)));
  CHECK(factors.at("other.x") == Approx(1.0 / 4));
  CHECK(AdapterFile(pair_of("x")).layer().factor == 1);
}

TEST_CASE("adapter: PEFT's configuration counts beside its own file name alone", "[lora]") {
  const TempDir dir;
  write_file(dir / "adapter_config.json", R"({"r": 4, "lora_alpha": 12, "use_rslora": false})");
  make_checkpoint(dir / "adapter_model.safetensors", pair_of("base_model.model.x"));
  make_checkpoint(dir / "style.safetensors", pair_of("base_model.model.x"));
  CHECK(Adapter(dir / "adapter_model.safetensors").layers().at(0).factor == 3);
  CHECK(Adapter(dir / "style.safetensors").layers().at(0).factor == 1);
  write_file(dir / "adapter_config.json", R"({"r": 4, "lora_alpha": 12, "fan_in_fan_out": true})");
  CHECK_THROWS_MATCHES(Adapter(dir / "adapter_model.safetensors"), Error,
                       HasCode(ErrorCode::kBadInput, "fan_in_fan_out"));
  write_file(dir / "adapter_config.json", R"({"r": 4, "lora_alpha": 12, "alpha_pattern": {"^x$": 3}})");
  CHECK_THROWS_MATCHES(Adapter(dir / "adapter_model.safetensors"), Error,
                       HasCode(ErrorCode::kBadInput, "alpha_pattern"));
}

TEST_CASE("adapter: the rank of whole Kronecker factors is not known, so alpha does not count", "[lora]") {
  const AdapterFile file(
      {stored("x.lokr_w1", normal({2, 3})), stored("x.lokr_w2", normal({4, 5})), scalar("x.alpha", 7)});
  CHECK(file.layer().factor == 1);
  CHECK(file.layer().rows == 8);
  CHECK(file.layer().per_row == 15);
}

TEST_CASE("adapter: what does not fit together is refused by name", "[lora]") {
  refused({stored("x.oft_blocks", normal({2, 3, 3}))}, "x.oft_blocks");
  refused({stored("emb_params", normal({2, 3}))}, "emb_params");
  refused({stored("x.lora_A.weight", normal({4, 6}))}, "'x' lacks a factor");
  refused({stored("x.lora_A.weight", normal({4, 6})), stored("x.lora_B.weight", normal({8, 3}))},
          "x.lora_B.weight' of shape [8, 3]");
  refused({stored("x.lora_A.weight", normal({4, 6})), stored("x.lora_A.default.weight", normal({4, 6}))},
          "the same part");
  refused({stored("x.lora_A.weight", at::ones({4, 6}, at::kInt)), stored("x.lora_B.weight", normal({8, 4}))},
          "x.lora_A.weight' is I32");
  refused({stored("x.diff", normal({4})), stored("x.lora_A.weight", normal({4, 6}))}, "more than one kind");
  refused({stored("x.diff", normal({4})), scalar("x.alpha", 1)}, "an alpha");
  refused({scalar("x.alpha", 1)}, "an alpha");
  refused({stored("x.lokr_w1", normal({2, 2})), stored("x.lokr_w1_a", normal({2, 1})),
           stored("x.lokr_w2", normal({2, 2}))},
          "both whole and factored");
  refused({stored("x.hada_w1_a", normal({4, 2})), stored("x.hada_w1_b", normal({2, 6})),
           stored("x.hada_w2_a", normal({4, 2})), stored("x.hada_w2_b", normal({2, 5}))},
          "different shapes");
  refused({stored("x.lora_A.weight", normal({4, 6})), stored("x.lora_B.weight", normal({8, 4})),
           stored("x.lora_B.bias", normal({7}))},
          "x.lora_B.bias");
  refused({stored("x.lora_A.weight", normal({4})), stored("x.lora_B.weight", normal({8, 4}))},
          "x.lora_A.weight' of shape [4]");
  refused({stored("x.lora_down.weight", normal({4, 6})), stored("x.lora_mid.weight", normal({4, 4})),
           stored("x.lora_up.weight", normal({8, 4}))},
          "x.lora_mid.weight' of shape [4, 4]");
  std::vector<TestTensor> nan = pair_of("x");
  nan.push_back(scalar("x.alpha", NAN));
  refused(nan, "x.alpha");
  refused(pair_of("x"), "network_alpha", {{"network_alpha", "big"}});
  refused(pair_of("x"), "lora_adapter_metadata", {{"lora_adapter_metadata", "{"}});
  refused({stored("x.lora_A.weight", at::empty({0, 6})), stored("x.lora_B.weight", at::empty({8, 0}))},
          "'x'");
}

TEST_CASE("adapter: factors in FP8 are read, with scales and without", "[lora]") {
  const at::Tensor a = normal({2, 8}, 1).to(at::kFloat8_e4m3fn),
                   b = normal({16, 2}, 2).to(at::kFloat8_e4m3fn);
  const float scale = 0.25F;
  const auto [weight_scale, marker] = GENERATE(table<std::string, bool>(
      {{"", false}, {".weight_scale", false}, {".scale_weight", true}, {".scale_weight", false}}));
  CAPTURE(weight_scale, marker);
  std::vector<TestTensor> tensors{stored("blk.lora_down.weight", a), stored("blk.lora_up.weight", b),
                                  scalar("blk.alpha", 2)};
  for (const std::string factor : {"blk.lora_down", "blk.lora_up"}) {
    if (!weight_scale.empty()) tensors.push_back(scalar(factor + weight_scale, scale));
  }
  if (marker) tensors.push_back(stored("scaled_fp8", at::zeros({2}, at::kFloat8_e4m3fn)));
  const AdapterFile file(tensors);
  REQUIRE(file.adapter->layers().size() == 1);
  const double scales = weight_scale.empty() ? 1 : scale * scale;
  const at::Tensor expected = b.to(at::kFloat).mm(a.to(at::kFloat)) * scales;
  const at::Tensor merged = merged_weight(at::zeros({16, 8}), file.layer(), 1);
  CHECK((merged - expected).abs().max().item<float>() < 1e-5);
}

TEST_CASE("adapter: textual inversions that came along are set aside", "[lora]") {
  const AdapterFile file({stored("blk.lora_A.weight", normal({2, 8})),
                          stored("blk.lora_B.weight", normal({16, 2})),
                          stored("bundle_emb.my token.clip_l", normal({4, 8})),
                          stored("bundle_emb.other.string_to_param.*", normal({4, 8}))});
  CHECK(file.adapter->layers().size() == 1);
  CHECK(file.adapter->embeddings() ==
        std::vector<std::string>{"bundle_emb.my token.clip_l", "bundle_emb.other.string_to_param.*"});
}

}  // namespace ctq::lora
