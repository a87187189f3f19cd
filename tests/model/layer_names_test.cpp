// Prefixes of layers' names.
#include "model/layer_names.h"

#include <catch2/catch.hpp>

namespace ctq::model {

TEST_CASE("prefixes: of models, one after the other", "[model]") {
  CHECK(without_model_prefixes("model.diffusion_model.blocks.0") == "blocks.0");
  CHECK(without_model_prefixes("base_model.model.transformer.blocks.0") == "blocks.0");
  CHECK(without_model_prefixes("net.blocks.0") == "blocks.0");
  CHECK(without_model_prefixes("blocks.0.model.x") == "blocks.0.model.x");
  CHECK(without_model_prefixes("transformer_blocks.0") == "transformer_blocks.0");
}

TEST_CASE("prefixes: only ComfyUI's stand before scaled_fp8", "[model]") {
  CHECK(model_prefix("model.diffusion_model.blocks.0.weight") == "model.diffusion_model.");
  CHECK(model_prefix("net.blocks.0.weight") == "net.");
  CHECK(model_prefix("diffusion_model.blocks.0.weight").empty());
  CHECK(model_prefix("model.layers.0.weight").empty());
}

TEST_CASE("names: averages that training kept beside the weights", "[model]") {
  CHECK(is_ema_name("model_ema.diffusion_modelinput_blocks00weight"));
  CHECK(is_ema_name("diffusion_ema.ema_model.model.x.weight"));
  CHECK_FALSE(is_ema_name("model_ema"));
  CHECK_FALSE(is_ema_name("blocks.0.model_ema.weight"));
  CHECK_FALSE(is_ema_name("model.embedder.weight"));
}

TEST_CASE("prefixes: encoders inside a checkpoint have each its own scaled_fp8", "[model]") {
  CHECK(checkpoint_prefix("text_encoders.t5xxl.transformer.encoder.block.0.q.weight") ==
        "text_encoders.t5xxl.transformer.");
  CHECK(checkpoint_prefix("text_encoders.gemma2_2b.model.layers.0.q.weight") == "text_encoders.");
  CHECK(checkpoint_prefix("cond_stage_model.qwen3_06b.transformer.model.layers.0.q.weight") ==
        "cond_stage_model.qwen3_06b.transformer.");
  CHECK(checkpoint_prefix("model.diffusion_model.blocks.0.weight") == "model.diffusion_model.");
  CHECK(checkpoint_prefix("encoder.block.0.q.weight").empty());
}

TEST_CASE("prefixes: of adapters", "[model]") {
  CHECK(adapter_prefix("lora_unet_blocks_0") == "lora_unet_");
  CHECK(adapter_prefix("lora_te1_text_model") == "lora_te1_");
  CHECK(adapter_prefix("text_encoder_2.text_model") == "text_encoder_2.");
  CHECK(adapter_prefix("blocks_0").empty());
}

}  // namespace ctq::model
