// Files as ComfyUI would load them: what it does not read is kept, and verify agrees.
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "safetensors/reader.h"
#include "support/make_checkpoint.h"
#include "support/run_binary.h"

namespace ctq {
namespace {

using safetensors::Dtype;
using test::bf16_vector;
using test::bf16_weight;
using test::Outcome;
using test::run_expecting;
using test::TempDir;
using test::TestTensor;

/// Converts a made-up file; the folder lasts as long as this.
class Converted {
 public:
  Converted(const std::vector<TestTensor>& tensors, std::vector<std::string> options, int code = 0) {
    test::make_checkpoint(dir_ / "in.safetensors", tensors);
    options.insert(options.begin(), {"-i", dir_ / "in.safetensors", "-o", path()});
    run = run_expecting(options, code);
  }

  std::string path() const { return dir_ / "out.safetensors"; }
  Dtype type_of(const std::string& tensor) const { return safetensors::Reader(path()).find(tensor)->dtype; }
  bool has(const std::string& tensor) const { return safetensors::Reader(path()).find(tensor) != nullptr; }
  bool said(const std::string& text) const { return (run.err + run.out).find(text) != std::string::npos; }
  Outcome verify(int code) const { return run_expecting({"verify", path()}, code); }

  Outcome run;

 private:
  TempDir dir_;
};

std::vector<TestTensor> clip(const std::string& prefix) {
  std::vector<TestTensor> tensors = {
      bf16_weight(prefix + "text_model.embeddings.token_embedding.weight", 96, 64)};
  for (const char* layer : {"self_attn.q_proj", "self_attn.k_proj", "mlp.fc1", "mlp.fc2"})
    tensors.push_back(bf16_weight(prefix + "text_model.encoder.layers.0." + layer + ".weight", 64, 64));
  return tensors;
}

std::vector<TestTensor> t5(const std::string& prefix) {
  std::vector<TestTensor> tensors = {bf16_weight(prefix + "shared.weight", 64, 64)};
  for (int block = 0; block < 24; ++block) {
    const std::string stem = prefix + "encoder.block." + std::to_string(block) + ".layer.";
    for (const char* layer :
         {"0.SelfAttention.q", "0.SelfAttention.k", "0.SelfAttention.v", "0.SelfAttention.o",
          "1.DenseReluDense.wi_0", "1.DenseReluDense.wi_1", "1.DenseReluDense.wo"})
      tensors.push_back(bf16_weight(stem + layer + ".weight", 64, 64));
    tensors.push_back(bf16_vector(stem + "0.layer_norm.weight", 64));
  }
  return tensors;
}

std::vector<TestTensor> language_model(const std::string& head) {
  std::vector<TestTensor> tensors = {bf16_weight(head, 128, 64),
                                     bf16_weight("model.embed_tokens.weight", 128, 64),
                                     bf16_vector("model.norm.weight", 64)};
  for (const char* layer : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                            "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"})
    tensors.push_back(bf16_weight(std::string("model.layers.0.") + layer + ".weight", 64, 64));
  for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
    tensors.push_back(bf16_vector(std::string("model.layers.0.") + norm + ".weight", 64));
  return tensors;
}

std::vector<TestTensor> operator+(std::vector<TestTensor> a, const std::vector<TestTensor>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

const std::string kUnet = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q";
const std::string kClipLayer = "text_model.encoder.layers.0.mlp.fc1.weight";

TEST_CASE("clients: of a whole checkpoint the U-Net is quantized, CLIP and VAE stay", "[end_to_end]") {
  const std::string recipe = GENERATE("comfy-fp8", "comfy-int8", "comfy-nvfp4", "comfy-w4a4");
  const Converted file(
      clip("cond_stage_model.transformer.") +
          std::vector{
              bf16_weight(kUnet + ".weight", 256, 256),
              bf16_weight("conditioner.embedders.1.model.transformer.resblocks.0.mlp.c_fc.weight", 64, 64),
              bf16_weight("first_stage_model.encoder.mid.attn_1.q.weight", 64, 64)},
      {"--recipe", recipe});
  CHECK(file.has(kUnet + ".comfy_quant"));
  for (const std::string& kept :
       {"cond_stage_model.transformer." + kClipLayer,
        std::string("first_stage_model.encoder.mid.attn_1.q.weight"),
        std::string("conditioner.embedders.1.model.transformer.resblocks.0.mlp.c_fc.weight")}) {
    CAPTURE(kept);
    CHECK(file.type_of(kept) == Dtype::kBF16);
  }
  CHECK(file.said("ComfyUI reads CLIP text models (L, H, G) as plain numbers inside such a checkpoint"));
  CHECK(file.said("ComfyUI reads VAE as plain numbers"));
  file.verify(0);
}

TEST_CASE("clients: CLIP alone has nothing that ComfyUI would read quantized", "[end_to_end]") {
  const std::vector<std::string> options = GENERATE(
      values<std::vector<std::string>>({{"--recipe", "comfy-fp8", "--exclude-layers", "text_projection"},
                                        {"--fp8"},
                                        {"--nvfp4", "--comfy_quant"}}));
  const Converted refused(clip("") + std::vector{bf16_weight("text_projection.weight", 64, 64)}, options, 1);
  CHECK(refused.said("ComfyUI reads CLIP text models (L, H, G) as plain numbers"));
  CHECK(refused.said("--fp16"));
  CHECK(Converted(clip(""), {"--fp16"}).type_of(kClipLayer) == Dtype::kF16);
}

TEST_CASE("clients: verify refuses a quantized CLIP in the layouts of ComfyUI and of before",
          "[end_to_end]") {
  const auto options = GENERATE(values<std::vector<std::string>>({{"--fp8"}, {"--fp8", "--comfy_quant"}}));
  std::vector<std::string> any = options;
  any.insert(any.end(), {"--client", "any"});
  const Converted file(clip(""), any);
  CHECK(file.said("will not load as meant"));
  const Outcome verified = file.verify(4);
  CHECK((verified.out + verified.err).find("as plain numbers") != std::string::npos);
}

TEST_CASE("clients: an output head at the top level stays", "[end_to_end]") {
  const auto options =
      GENERATE(values<std::vector<std::string>>({{"--recipe", "comfy-fp8"}, {"--int8", "--comfy_quant"}}));
  const Converted file(language_model("lm_head.weight"), options);
  CHECK(file.type_of("lm_head.weight") == Dtype::kBF16);
  CHECK(file.has("model.layers.0.mlp.up_proj.comfy_quant"));
  file.verify(0);
}

TEST_CASE("clients: a recipe says nothing of a preset that it took itself and that protects nothing",
          "[end_to_end]") {
  const Converted file(t5(""), {"--recipe", "comfy-fp8", "--strict"});
  CHECK_FALSE(file.said("protects nothing"));
  CHECK(file.type_of("encoder.block.23.layer.1.DenseReluDense.wo.weight") == Dtype::kF8E4M3);
  file.verify(0);
  Converted(language_model("tekken_model.weight") +
                std::vector{test::tensor("tekken_model", Dtype::kU8, {2}, "ab")},
            {"--recipe", "comfy-fp8", "--strict"})
      .verify(0);
}

TEST_CASE("clients: tables of tokens on request, in formats that ComfyUI reads there", "[end_to_end]") {
  const auto quantized = [](std::vector<std::string> options) {
    options.push_back("--quantize-embeddings");
    const Converted file(t5(""), options);
    file.verify(0);
    return file.has("shared.comfy_quant");
  };
  CHECK(quantized({"--recipe", "comfy-fp8"}));
  CHECK(quantized({"--recipe", "comfy-int8"}));
  CHECK(quantized({"--fp8", "--comfy_quant", "--t5xxl"}));
  CHECK_FALSE(quantized({"--recipe", "comfy-nvfp4"}));
  CHECK_FALSE(quantized({"--recipe", "comfy-mxfp8"}));
  CHECK_FALSE(quantized({"--recipe", "comfy-fp8", "--exclude-layers", "shared"}));
  const Converted plain(t5(""), {"--recipe", "comfy-fp8"});
  CHECK(plain.type_of("shared.weight") == Dtype::kBF16);
}

TEST_CASE("clients: the header repeats the markers of layers without a prefix only", "[end_to_end]") {
  const auto map = [](const Converted& file) {
    return safetensors::Reader(file.path()).header().metadata.contains("_quantization_metadata");
  };
  CHECK(map(
      Converted({bf16_weight("double_blocks.0.img_attn.qkv.weight", 64, 64)}, {"--recipe", "comfy-fp8"})));
  const Converted prefixed({bf16_weight(kUnet + ".weight", 64, 64)}, {"--recipe", "comfy-fp8"});
  CHECK_FALSE(map(prefixed));
  CHECK(prefixed.said("the header does not repeat the markers"));
  prefixed.verify(0);
  const std::string edited = prefixed.path() + ".edited.safetensors";
  const Outcome edit = run_expecting({"edit", prefixed.path(), "-o", edited, "--save-quant-metadata"}, 0);
  CHECK(edit.out.find("the header does not repeat the markers") != std::string::npos);
  CHECK_FALSE(safetensors::Reader(edited).header().metadata.contains("_quantization_metadata"));
}

TEST_CASE("clients: each encoder inside a checkpoint has a legacy token of its own", "[end_to_end]") {
  const std::string prefix = "text_encoders.t5xxl.transformer.";
  const Converted file(t5(prefix) + std::vector{bf16_weight(kUnet + ".weight", 64, 64)},
                       {"--fp8", "--client", "any"});
  CHECK(file.has(prefix + "scaled_fp8"));
  CHECK(file.has("model.diffusion_model.scaled_fp8"));
  CHECK_FALSE(file.has("scaled_fp8"));
  // For ComfyUI, with a diffusion model that is not known here, the encoder stays.
  const Converted kept(t5(prefix) + std::vector{bf16_weight(kUnet + ".weight", 64, 64)}, {"--fp8"});
  CHECK_FALSE(kept.has(prefix + "scaled_fp8"));
  CHECK(kept.has("model.diffusion_model.scaled_fp8"));
  CHECK(kept.said("depends on the diffusion model beside it"));
}

TEST_CASE("clients: legacy scales and the header's map exclude each other", "[end_to_end]") {
  const std::vector<TestTensor> model = {bf16_weight("a.0.b.weight", 64, 64)};
  const Converted file(model, {"--fp8", "--save-quant-metadata"});
  CHECK(file.has("a.0.b.comfy_quant"));
  CHECK(file.said("--comfy_quant switched on"));
  file.verify(0);
  Converted(model, {"--fp8", "--save-quant-metadata", "--comfy_quant=false"}, 2);
}

}  // namespace
}  // namespace ctq
