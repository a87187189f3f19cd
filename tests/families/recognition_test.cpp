// Names as the released checkpoints have them, a few of each.
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <algorithm>

#include "families/parts.h"

namespace ctq::families {
namespace {

using Names = std::vector<std::string>;

Names with_prefix(const std::string& prefix, Names names) {
  for (std::string& name : names) name = prefix + name;
  return names;
}

Names operator+(Names a, const Names& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

const Names kFlux1 = {"img_in.weight",
                      "img_in.bias",
                      "time_in.in_layer.weight",
                      "vector_in.in_layer.weight",
                      "guidance_in.in_layer.weight",
                      "txt_in.weight",
                      "double_blocks.0.img_mod.lin.weight",
                      "double_blocks.0.img_attn.qkv.weight",
                      "double_blocks.0.img_attn.norm.key_norm.scale",
                      "double_blocks.0.txt_mlp.2.weight",
                      "single_blocks.0.linear1.weight",
                      "single_blocks.0.modulation.lin.weight",
                      "final_layer.linear.weight",
                      "final_layer.adaLN_modulation.1.weight"};
const Names kFlux2 = {"img_in.weight",
                      "txt_in.weight",
                      "time_in.in_layer.weight",
                      "guidance_in.in_layer.weight",
                      "double_stream_modulation_img.lin.weight",
                      "double_stream_modulation_txt.lin.weight",
                      "single_stream_modulation.lin.weight",
                      "double_blocks.0.img_attn.qkv.weight",
                      "double_blocks.0.img_mlp.0.weight",
                      "single_blocks.0.linear1.weight",
                      "final_layer.linear.weight"};
const Names kChroma = {"img_in.weight",
                       "txt_in.weight",
                       "distilled_guidance_layer.in_proj.weight",
                       "distilled_guidance_layer.layers.0.in_layer.weight",
                       "distilled_guidance_layer.norms.0.scale",
                       "double_blocks.0.img_attn.qkv.weight",
                       "single_blocks.0.linear1.weight",
                       "final_layer.linear.weight"};
const Names kRadiance = {"img_in_patch.weight",
                         "txt_in.weight",
                         "distilled_guidance_layer.in_proj.weight",
                         "double_blocks.0.img_attn.qkv.weight",
                         "single_blocks.0.linear1.weight",
                         "nerf_image_embedder.embedder.0.weight",
                         "nerf_blocks.0.param_generator.weight",
                         "nerf_blocks.0.norm.scale",
                         "nerf_final_layer_conv.conv.weight",
                         "__x0__"};
const Names kWan = {"patch_embedding.weight",   "text_embedding.0.weight",     "time_embedding.0.weight",
                    "time_projection.1.weight", "blocks.0.self_attn.q.weight", "blocks.0.cross_attn.k.weight",
                    "blocks.0.ffn.0.weight",    "blocks.0.modulation",         "head.head.weight",
                    "head.modulation"};
const Names kHunyuan15 = {"img_in.proj.weight",
                          "txt_in.individual_token_refiner.blocks.0.norm1.weight",
                          "txt_in.input_embedder.weight",
                          "vision_in.proj.0.weight",
                          "vision_in.proj.1.weight",
                          "cond_type_embedding.weight",
                          "double_blocks.0.img_attn_qkv.weight",
                          "final_layer.linear.weight"};
const Names kHunyuanVideo = {"img_in.proj.weight",
                             "txt_in.individual_token_refiner.blocks.0.norm1.weight",
                             "vector_in.in_layer.weight",
                             "time_in.in_layer.weight",
                             "double_blocks.0.img_attn.qkv.weight",
                             "single_blocks.0.linear1.weight",
                             "final_layer.linear.weight"};
const Names kQwenImage = {"img_in.weight",
                          "txt_in.weight",
                          "txt_norm.weight",
                          "time_text_embed.timestep_embedder.linear_1.weight",
                          "transformer_blocks.0.img_mod.1.weight",
                          "transformer_blocks.0.attn.norm_added_q.weight",
                          "transformer_blocks.0.img_mlp.net.0.proj.weight",
                          "norm_out.linear.weight",
                          "proj_out.weight"};
const Names kZImage = {"cap_embedder.0.weight",
                       "cap_embedder.1.weight",
                       "cap_pad_token",
                       "context_refiner.0.attention.qkv.weight",
                       "noise_refiner.0.attention.k_norm.weight",
                       "noise_refiner.0.attention.qkv.weight",
                       "layers.0.attention.qkv.weight",
                       "layers.0.feed_forward.w1.weight",
                       "t_embedder.mlp.0.weight",
                       "x_embedder.weight",
                       "final_layer.linear.weight"};
const Names kLens = {"img_in.weight",
                     "txt_in.weight",
                     "txt_norm.0.weight",
                     "time_text_embed.timestep_embedder.linear_1.weight",
                     "transformer_blocks.0.attn.norm_added_q.weight",
                     "transformer_blocks.0.img_mlp.w1.weight",
                     "transformer_blocks.0.img_mod.1.weight",
                     "proj_out.weight"};
const Names kLtx2 = {"adaln_single.emb.timestep_embedder.linear_1.bias",
                     "adaln_single.linear.weight",
                     "audio_adaln_single.linear.weight",
                     "patchify_proj.weight",
                     "transformer_blocks.0.attn2.to_k.weight",
                     "transformer_blocks.47.attn2.to_k.weight"};
const Names kAnima = {"x_embedder.proj.1.weight",   "t_embedder.1.linear_1.weight",
                      "blocks.0.mlp.layer1.weight", "blocks.0.adaln_modulation_mlp.1.weight",
                      "final_layer.linear.weight",  "llm_adapter.blocks.0.cross_attn.q_proj.weight"};
const Names kBoogu = {"x_embedder.weight",
                      "ref_image_patch_embedder.weight",
                      "image_index_embedding",
                      "time_caption_embed.caption_embedder.0.weight",
                      "noise_refiner.0.attn.to_q.weight",
                      "double_stream_layers.0.img_instruct_attn.processor.img_to_q.weight",
                      "single_stream_layers.0.attn.to_q.weight"};
const Names kT5 = {"shared.weight",
                   "encoder.block.0.layer.0.SelfAttention.k.weight",
                   "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                   "encoder.block.23.layer.1.DenseReluDense.wi_0.weight",
                   "encoder.block.23.layer.1.DenseReluDense.wi_1.weight",
                   "encoder.final_layer_norm.weight"};

/// The preset of the family that a file with these names is about; empty where none is certain.
std::string_view recognise_preset(Names names) {
  std::ranges::sort(names);
  const Parts parts(names);
  const Part* main = parts.adapter() ? nullptr : parts.main();
  return main && main->family->preset ? main->family->preset->name : std::string_view();
}

TEST_CASE("families: released checkpoints", "[families]") {
  const std::string prefix = GENERATE("", "model.diffusion_model.", "diffusion_model.");
  const auto recognised = [&](const Names& names) { return recognise_preset(with_prefix(prefix, names)); };
  CAPTURE(prefix);
  CHECK(recognised(kFlux2) == "flux2");
  CHECK(recognised(kFlux1) == "flux");
  CHECK(recognised(kChroma) == "distillation_large");
  CHECK(recognised(kRadiance) == "nerf_large");
  CHECK(recognised(kWan) == "wan");
  CHECK(recognised(kHunyuan15) == "hunyuan");
  CHECK(recognised(kQwenImage + Names{"transformer_blocks.59.img_mod.1.weight"}) == "qwen");
  CHECK(recognised(kZImage) == "zimage");
  CHECK(recognised(kLens) == "lens");
  CHECK(recognised(kLtx2) == "ltxv2");
  CHECK(recognised(kAnima) == "anima");
  CHECK(recognised(kBoogu) == "boogu");
  CHECK(recognised({"embed_image_indicator.weight", "input_proj.weight", "llm_cond_proj.weight",
                    "adaln_proj.weight", "t_embedding.mlp_in.weight", "layers.0.attention.qkv.weight"}) ==
        "ideogram4");
  CHECK(
      recognised({"first.weight", "txtfusion.projector.weight", "txtfusion.layerwise_blocks.0.prenorm.scale",
                  "blocks.0.attn.wq.weight", "blocks.0.attn.wk.weight"}) == "krea2");
  CHECK(recognised({"video_patch_proj.weight", "audio_patch_proj.weight", "condition_proj.weight",
                    "token_refiner.blocks.0.attn.qkv_proj.weight", "blocks.0.attn.qkv_proj.weight",
                    "final_layer.video_out.weight"}) == "minimaxh3");
}

TEST_CASE("families: models that have names of others", "[families]") {
  CHECK(recognise_preset(kHunyuanVideo) == "hunyuan_video");
  CHECK(recognise_preset(kQwenImage + Names{"transformer_blocks.11.img_mod.1.weight"}) == "qwen");
  CHECK(recognise_preset(Names{"adaln_single.emb.timestep_embedder.linear_1.bias", "patchify_proj.weight",
                               "transformer_blocks.0.attn2.to_k.weight",
                               "transformer_blocks.27.attn2.to_k.weight"}) == "ltxv");
  // LTX-Video 2 of another depth: the preset names blocks that it lacks.
  CHECK(recognise_preset(Names{"adaln_single.emb.timestep_embedder.linear_1.bias", "patchify_proj.weight",
                               "audio_adaln_single.linear.weight", "transformer_blocks.0.attn2.to_k.weight"})
            .empty());
}

/// The family of the part without a prefix; empty where none is known.
std::string_view recognise_family(Names names) {
  std::ranges::sort(names);
  const Parts parts(names);
  const Part& part = parts.of("");
  return part.family ? part.family->name : std::string_view();
}

/// Whether ComfyUI changes the names of the part without a prefix.
bool is_renamed(Names names) {
  std::ranges::sort(names);
  return Parts(names).of("").renamed;
}

TEST_CASE("parts: renamed by a family's names, or by another library's for one", "[families]") {
  CHECK(
      is_renamed({"condition_embedder.time_embedder.linear_1.weight", "blocks.0.attn1.to_q.weight",
                  "blocks.0.ffn.net.0.proj.weight", "patch_embedding.weight"}));  // Wan, which has no family
  // LongCat-Image, whose layers no table names.
  CHECK(is_renamed({"single_transformer_blocks.0.attn.to_q.weight",
                    "transformer_blocks.0.attn.add_q_proj.weight", "x_embedder.weight",
                    "context_embedder.weight", "time_embed.timestep_embedder.linear_1.weight"}));
  for (const Names& names : {kFlux1, kWan, kHunyuanVideo, kT5, Names{"x.weight"}})
    CHECK_FALSE(is_renamed(names));
}

TEST_CASE("families: names of diffusers that ComfyUI changes are families of their own", "[families]") {
  const auto [family, names] = GENERATE(table<std::string_view, Names>({
      {"flux_diffusers",
       {"x_embedder.weight", "context_embedder.weight", "norm_out.linear.weight",
        "time_text_embed.timestep_embedder.linear_1.weight", "transformer_blocks.0.attn.add_q_proj.weight",
        "single_transformer_blocks.0.attn.to_q.weight", "single_transformer_blocks.0.proj_mlp.weight"}},
      {"sd3_diffusers",
       {"pos_embed.proj.weight", "context_embedder.weight", "transformer_blocks.0.attn.add_q_proj.weight",
        "transformer_blocks.0.norm1_context.linear.weight"}},
      {"zimage_diffusers",
       {"noise_refiner.0.attention.norm_k.weight", "noise_refiner.0.attention.to_q.weight",
        "context_refiner.0.attention.to_q.weight", "layers.0.attention.to_q.weight", "cap_embedder.1.weight",
        "all_x_embedder.2-1.weight"}},
      {"auraflow_diffusers",
       {"joint_transformer_blocks.0.attn.add_k_proj.weight", "single_transformer_blocks.0.attn.to_q.weight",
        "context_embedder.weight", "pos_embed.proj.weight"}},
      {"pixart_diffusers",
       {"adaln_single.emb.timestep_embedder.linear_1.bias", "pos_embed.proj.bias",
        "transformer_blocks.0.attn1.to_q.weight", "transformer_blocks.0.attn2.to_k.weight"}},
      {"unet_diffusers",
       {"conv_in.weight", "time_embedding.linear_1.weight", "down_blocks.0.resnets.0.conv1.weight",
        "mid_block.resnets.0.conv1.weight", "up_blocks.0.resnets.0.conv1.weight",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"}},
  }));
  CAPTURE(family);
  CHECK(recognise_family(names) == family);
  CHECK(is_renamed(names));
  CHECK(recognise_preset(names).empty());
}

TEST_CASE("families: control models are no diffusion models", "[families]") {
  CHECK(recognise_family({"controlnet_blocks.0.weight", "x_embedder.weight", "context_embedder.weight",
                          "transformer_blocks.0.attn.add_q_proj.weight",
                          "single_transformer_blocks.0.attn.to_q.weight"}) == "control_model");
  CHECK(recognise_family({"controlnet_cond_embedding.conv_in.weight", "conv_in.weight",
                          "time_embedding.linear_1.weight", "down_blocks.0.resnets.0.conv1.weight",
                          "mid_block.resnets.0.conv1.weight"}) == "control_model");
  CHECK(recognise_family({"input_hint_block.0.weight", "zero_convs.0.0.weight", "time_embed.0.weight",
                          "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"}) == "control_model");
}

TEST_CASE("families: the original names of HunyuanVideo", "[families]") {
  const Names original = {"txt_in.individual_token_refiner.blocks.0.self_attn_qkv.weight",
                          "txt_in.t_embedder.mlp.0.weight",
                          "time_in.mlp.0.weight",
                          "double_blocks.0.img_attn_qkv.weight",
                          "single_blocks.0.linear1.weight",
                          "final_layer.linear.weight"};
  CHECK(recognise_family(original + Names{"vector_in.in_layer.weight"}) == "hunyuan_video");
  CHECK(recognise_family(original) == "hunyuan_image");
}

TEST_CASE("families: text encoders", "[families]") {
  CHECK(recognise_preset(kT5) == "t5xxl");
  CHECK(recognise_preset(Names{"encoder.block.0.layer.0.SelfAttention.k.weight",
                               "encoder.block.23.layer.1.DenseReluDense.wi.weight"}) == "t5xxl");
  CHECK(recognise_preset(Names{"tekken_model", "model.embed_tokens.weight",
                               "model.layers.0.self_attn.q_proj.weight"}) == "mistral");
  CHECK(recognise_preset(Names{"model.vision_tower.patch_conv.weight", "model.vision_tower.ln_pre.weight",
                               "model.multi_modal_projector.patch_merger.merging_layer.weight",
                               "model.language_model.layers.0.self_attn.q_proj.weight"}) == "mistral");
  CHECK(recognise_preset(Names{"visual.merger.ln_q.weight", "visual.merger.mlp.0.weight",
                               "visual.blocks.0.attn.qkv.weight", "model.layers.0.self_attn.k_proj.bias",
                               "lm_head.weight"}) == "qwen_vlm");
  CHECK(recognise_preset(Names{"model.visual.deepstack_merger_list.0.norm.weight",
                               "model.visual.merger.linear_fc2.weight",
                               "model.language_model.layers.0.self_attn.q_norm.weight"}) == "qwen_vlm");
  CHECK(recognise_preset(Names{"model.language_model.layers.0.linear_attn.A_log",
                               "model.language_model.layers.0.linear_attn.in_proj_a.weight",
                               "model.language_model.layers.3.self_attn.q_proj.weight"}) == "qwen_vlm");
  CHECK(recognise_preset(Names{"model.layers.0.per_layer_input_gate.weight",
                               "model.layers.0.per_layer_projection.weight",
                               "model.layers.0.layer_scalar"}) == "gemma4");
}

TEST_CASE("families: what every recognised name protects is there", "[families]") {
  const auto protects = [](std::string_view preset, const Names& names) {
    ActivePresets active(Names{std::string(preset)}, FilterSet::kSeed, names);
    for (const std::string& name : names) active.protects(name);
    return active.unused().empty();
  };
  for (const Names& names :
       {kFlux1, kFlux2, kChroma, kRadiance, kWan, kHunyuan15, kZImage, kLens, kLtx2, kAnima, kBoogu, kT5}) {
    CAPTURE(names.front());
    CHECK(protects(recognise_preset(names), names));
  }
}

TEST_CASE("families: nothing where no family is certain", "[families]") {
  CHECK(recognise_preset({}).empty());
  CHECK(recognise_preset(Names{"weight", "", ".", "img_in.weight"}).empty());
  // A BERT-like encoder, SDXL's UNet, CLIP.
  CHECK(recognise_preset(Names{"encoder.layer.0.attention.self.query.weight",
                               "embeddings.word_embeddings.weight", "pooler.dense.weight"})
            .empty());
  CHECK(
      recognise_preset(Names{"model.diffusion_model.input_blocks.0.0.weight",
                             "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight",
                             "first_stage_model.decoder.conv_in.weight"})
          .empty());  // a U-Net without its output
  CHECK(recognise_preset(Names{"text_model.encoder.layers.30.mlp.fc1.weight"}).empty());
  // With few blocks Qwen-Image cannot be told from Mage-Flow.
  CHECK(recognise_preset(kQwenImage + Names{"transformer_blocks.5.img_mod.1.weight"}).empty());
  // Gemma 3n has no layer_scalar, and plain language models none of the vision names.
  CHECK(recognise_preset(Names{"model.language_model.layers.0.per_layer_input_gate.weight",
                               "model.language_model.layers.0.per_layer_projection.weight",
                               "model.language_model.layers.0.altup.correction_coefs.weight"})
            .empty());
  CHECK(recognise_preset(Names{"model.layers.0.self_attn.q_proj.weight",
                               "model.layers.0.post_attention_layernorm.weight", "lm_head.weight"})
            .empty());
}

TEST_CASE("families: fragments are whole parts of a name", "[families]") {
  Names names = kFlux2;
  for (std::string& name : names) name = "x" + name;
  CHECK(recognise_preset(names).empty());
}

TEST_CASE("families: adapters have their model's names, and no preset", "[families]") {
  CHECK(recognise_preset(kFlux2 + Names{"double_blocks.0.img_attn.qkv.lora_A.weight"}).empty());
  CHECK(recognise_preset(kWan + Names{"blocks.0.self_attn.q.lora_up.weight"}).empty());
}

TEST_CASE("families: a text encoder inside a whole checkpoint does not decide", "[families]") {
  const Names encoder = with_prefix("text_encoders.t5xxl.transformer.", kT5);
  const Names vae = {"first_stage_model.decoder.conv_in.weight", "vae.decoder.conv_in.weight"};
  CHECK(recognise_preset(encoder + vae).empty());
  CHECK(recognise_preset(encoder + Names{"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"})
            .empty());  // too little of SD 3
  CHECK(recognise_preset(with_prefix("model.diffusion_model.", kWan) + encoder + vae) == "wan");
}

}  // namespace
}  // namespace ctq::families
