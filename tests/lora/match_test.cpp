// Which tensors the layers of an adapter belong to.
#include "lora/match.h"

#include <algorithm>
#include <optional>
#include <tuple>

#include <catch2/catch.hpp>

#include "lora/adapter_file.h"
#include "lora/other_names.h"
#include "support/matchers.h"

namespace ctq::lora {
namespace {

using namespace ctq::test;

/// A model with 2-D weights of these rows, eight columns each.
Opened model_of(const std::vector<std::pair<std::string, int64_t>>& weights) {
  std::vector<TestTensor> tensors;
  for (const auto& [name, rows] : weights) tensors.push_back(stored(name, at::zeros({rows, 8})));
  return Opened(tensors);
}

/// An adapter with pairs of these rows and eight columns.
AdapterFile adapter_of(const std::vector<std::pair<std::string, int64_t>>& layers) {
  std::vector<TestTensor> tensors;
  for (const auto& [layer, rows] : layers) {
    tensors.push_back(stored(layer + ".lora_A.weight", at::zeros({2, 8})));
    tensors.push_back(stored(layer + ".lora_B.weight", at::zeros({rows, 2})));
  }
  return AdapterFile(tensors);
}

struct Place {
  std::string weight;
  int64_t first_row;
};

/// Where the only layer goes; nothing where it is not matched.
std::optional<Place> place_of(const std::string& layer, int64_t rows, const Opened& model) {
  const AdapterFile file = adapter_of({{layer, rows}});
  const Matches found = match(*file.adapter, model.checkpoint, {});
  if (found.matched.empty()) return std::nullopt;
  return Place{found.matched.front().weight->name(), found.matched.front().first_row};
}

}  // namespace

TEST_CASE("match: every dialect names the same layer, with and without prefixes of the model", "[lora]") {
  const std::string prefix =
      GENERATE("", "model.diffusion_model.", "diffusion_model.", "net.", "transformer.");
  const std::string layer =
      GENERATE("double_blocks.0.img_attn.proj", "diffusion_model.double_blocks.0.img_attn.proj",
               "transformer.double_blocks.0.img_attn.proj", "base_model.model.double_blocks.0.img_attn.proj",
               "base_model.model.transformer.double_blocks.0.img_attn.proj",
               "unet.double_blocks.0.img_attn.proj", "lora_unet_double_blocks_0_img_attn_proj",
               "lora_transformer_double_blocks_0_img_attn_proj", "lycoris_double_blocks_0_img_attn_proj");
  CAPTURE(prefix, layer);
  const std::string weight = prefix + "double_blocks.0.img_attn.proj.weight";
  const Opened model = model_of({{weight, 16}, {prefix + "double_blocks.1.img_attn.proj.weight", 16}});
  const auto place = place_of(layer, 16, model);
  REQUIRE(place);
  CHECK(place->weight == weight);
  CHECK(place->first_row == 0);
}

TEST_CASE("match: text encoders, older spellings, parameters without a weight", "[lora]") {
  const auto [layer, weight] = GENERATE(table<std::string, std::string>({
      {"lora_te1_text_model_encoder_layers_0_mlp_fc1", "text_model.encoder.layers.0.mlp.fc1.weight"},
      {"text_encoder.text_model.encoder.layers.0.mlp.fc1", "text_model.encoder.layers.0.mlp.fc1.weight"},
      {"lora_te3_encoder_block_0_layer_0_SelfAttention_q", "encoder.block.0.layer.0.SelfAttention.q.weight"},
      {"unet.down.attn1.processor.to_q", "down.attn1.to_q.weight"},
      {"unet.down.attn1.processor.to_out", "down.attn1.to_out.0.weight"},
      {"diffusion_model.blocks.0.modulation", "blocks.0.modulation"},
  }));
  CAPTURE(layer);
  const auto place = place_of(layer, 16, model_of({{weight, 16}}));
  REQUIRE(place);
  CHECK(place->weight == weight);
}

TEST_CASE("match: the layer's own name wins over others", "[lora]") {
  const Opened model = model_of({{"a_b.weight", 16}, {"a.b.weight", 16}, {"model.a.b.weight", 16}});
  CHECK(place_of("a.b", 16, model)->weight == "a.b.weight");
  CHECK(place_of("a_b", 16, model)->weight == "a_b.weight");
  CHECK(place_of("model.a.b", 16, model)->weight == "model.a.b.weight");
}

TEST_CASE("match: split layers go to their rows of a fused one", "[lora]") {
  const auto [layer, rows, weight, fused,
              first] = GENERATE(table<std::string, int64_t, std::string, int64_t, int64_t>({
      {"transformer.blk.0.attn.to_q", 8, "blk.0.attn.qkv.weight", 24, 0},
      {"transformer.blk.0.attn.to_k", 8, "blk.0.attn.qkv.weight", 24, 8},
      {"lora_unet_blk_0_attn_to_v", 8, "blk.0.attn.qkv.weight", 24, 16},
      {"blk.0.attn.q_proj", 16, "blk.0.attn.qkv_proj.weight", 32, 0},  // fewer heads of k and v
      {"blk.0.attn.k_proj", 8, "blk.0.attn.qkv_proj.weight", 32, 16},
      {"blk.0.attn.v_proj", 8, "blk.0.attn.qkv_proj.weight", 32, 24},
      {"blk.0.mlp.up_proj", 8, "blk.0.mlp.gate_up_proj.weight", 16, 8},
      {"transformer.transformer_blocks.3.attn.to_k", 8, "double_blocks.3.img_attn.qkv.weight", 24, 8},
      {"transformer.transformer_blocks.3.attn.add_v_proj", 8, "double_blocks.3.txt_attn.qkv.weight", 24, 16},
      {"transformer.transformer_blocks.3.ff.net.0.proj", 32, "double_blocks.3.img_mlp.0.weight", 32, 0},
      {"transformer.single_transformer_blocks.12.attn.to_k", 8, "single_blocks.12.linear1.weight", 56, 8},
      {"transformer.single_transformer_blocks.12.proj_mlp", 32, "single_blocks.12.linear1.weight", 56, 24},
      {"transformer.single_transformer_blocks.12.proj_out", 8, "single_blocks.12.linear2.weight", 8, 0},
      {"lora_transformer_single_transformer_blocks_12_attn_to_v", 8, "single_blocks.12.linear1.weight", 56,
       16},
      {"transformer.x_embedder", 8, "img_in.weight", 8, 0},
  }));
  CAPTURE(layer);
  const auto place = place_of(layer, rows, model_of({{weight, fused}}));
  REQUIRE(place);
  CHECK(place->weight == weight);
  CHECK(place->first_row == first);
}

TEST_CASE("match: norms of FLUX, whose parameters are no weights by name", "[lora]") {
  const Opened model({stored("single_blocks.3.norm.query_norm.scale", at::ones({16}))});
  const AdapterFile file(
      {stored("transformer.single_transformer_blocks.3.attn.norm_q.diff", at::ones({16}))});
  const Matches found = match(*file.adapter, model.checkpoint, {});
  REQUIRE(found.matched.size() == 1);
  CHECK(found.matched.front().weight->name() == "single_blocks.3.norm.query_norm.scale");
}

TEST_CASE("match: the same norms where the file calls them weights", "[lora]") {
  const Opened model({stored("single_blocks.3.norm.query_norm.weight", at::ones({16}))});
  const AdapterFile file(
      {stored("transformer.single_transformer_blocks.3.attn.norm_q.diff", at::ones({16}))});
  const Matches found = match(*file.adapter, model.checkpoint, {});
  REQUIRE(found.matched.size() == 1);
  CHECK(found.matched.front().weight->name() == "single_blocks.3.norm.query_norm.weight");
}

TEST_CASE("other names: only endings of joined layers", "[lora]") {
  CHECK(fused_names("blk_attn_to_x").empty());
}

TEST_CASE("match: dialects of other families and programs", "[lora]") {
  const auto [layer, rows, weight, all,
              first] = GENERATE(table<std::string, int64_t, std::string, int64_t, int64_t>({
      // Stable Diffusion 3 by diffusers, OneTrainer, SimpleTuner, flash-sd3
      {"transformer.transformer_blocks.0.attn.to_k", 8, "joint_blocks.0.x_block.attn.qkv.weight", 24, 8},
      {"base_model.model.transformer_blocks.0.attn.add_v_proj", 8,
       "joint_blocks.0.context_block.attn.qkv.weight", 24, 16},
      {"lora_transformer_transformer_blocks_0_attn2_to_q", 8, "joint_blocks.0.x_block.attn2.qkv.weight", 24,
       0},
      {"lycoris_transformer_blocks_0_attn_to_out_0", 8, "joint_blocks.0.x_block.attn.proj.weight", 8, 0},
      {"transformer.transformer_blocks.0.ff.net.0.proj", 32, "joint_blocks.0.x_block.mlp.fc1.weight", 32, 0},
      {"transformer.pos_embed.proj", 8, "x_embedder.proj.weight", 8, 0},
      // Z-Image by diffusers, ai-toolkit, musubi
      {"diffusion_model.layers.0.attention.to_out.0", 8, "layers.0.attention.out.weight", 8, 0},
      {"transformer.layers.0.attention.to_k", 8, "layers.0.attention.qkv.weight", 24, 8},
      {"lora_unet_layers_0_attention_to_out_0", 8, "layers.0.attention.out.weight", 8, 0},
      {"layers.0.attention.to_out.0", 8, "layers.0.attention.out.weight", 8, 0},
      {"lora_unet_context_refiner_1_attention_to_v", 8, "context_refiner.1.attention.qkv.weight", 24, 16},
      {"transformer.all_x_embedder.2-1", 8, "x_embedder.weight", 8, 0},
      {"diffusion_model.all_final_layer.2-1.linear", 8, "final_layer.linear.weight", 8, 0},
      {"lycoris_all_final_layer_2-1_adaLN_modulation_1", 8, "final_layer.adaLN_modulation.1.weight", 8, 0},
      // Wan-Fun; HunyuanVideo by diffusion-pipe and by diffusers
      {"lora_unet__blocks_0_cross_attn_k", 8, "blocks.0.cross_attn.k.weight", 8, 0},
      {"transformer.double_blocks.0.img_attn_qkv", 24, "double_blocks.0.img_attn.qkv.weight", 24, 0},
      {"transformer.double_blocks.0.img_mod.linear", 48, "double_blocks.0.img_mod.lin.weight", 48, 0},
      {"transformer.double_blocks.0.txt_mlp.fc2", 8, "double_blocks.0.txt_mlp.2.weight", 8, 0},
      {"transformer.single_blocks.0.modulation.linear", 24, "single_blocks.0.modulation.lin.weight", 24, 0},
      {"transformer.transformer_blocks.2.attn.to_v", 8, "double_blocks.2.img_attn.qkv.weight", 24, 16},
      // AuraFlow, PixArt, Wan by diffusers, Krea 2, Lumina 2
      {"transformer.joint_transformer_blocks.0.attn.to_q", 8, "double_layers.0.attn.w2q.weight", 8, 0},
      {"transformer.single_transformer_blocks.3.ff.linear_1", 8, "single_layers.3.mlp.c_fc1.weight", 8, 0},
      {"base_model.model.transformer_blocks.0.attn2.to_v", 8, "blocks.0.cross_attn.kv_linear.weight", 16, 8},
      {"unet.base_model.model.transformer_blocks.0.attn1.to_out.0", 8, "blocks.0.attn.proj.weight", 8, 0},
      {"transformer.blocks.0.attn1.to_out.0", 8, "blocks.0.self_attn.o.weight", 8, 0},
      {"transformer.blocks.0.ffn.net.0.proj", 32, "blocks.0.ffn.0.weight", 32, 0},
      {"diffusion_model.transformer_blocks.0.attn.to_out", 8, "blocks.0.attn.wo.weight", 8, 0},
      {"text_fusion.refiner_blocks.1.ff.gate", 8, "txtfusion.refiner_blocks.1.mlp.gate.weight", 8, 0},
      {"transformer.layers.0.feed_forward.linear_3", 8, "layers.0.feed_forward.w3.weight", 8, 0},
      // Flux: processors of XLabs and USO, the first rows of a joined layer
      {"double_blocks.0.processor.qkv_lora2", 24, "double_blocks.0.txt_attn.qkv.weight", 24, 0},
      {"single_blocks.37.processor.qkv_lora", 24, "single_blocks.37.linear1.weight", 56, 0},
      {"diffusion_model.single_blocks.37.linear1_qkv", 24, "single_blocks.37.linear1.weight", 56, 0},
      // ACE-Step 1.5; the same names with a prefix: HiDream, Qwen-Image, OmniGen 2, ACE-Step, LTX
      {"base_model.model.layers.0.self_attn.q_proj", 8, "decoder.layers.0.self_attn.q_proj.weight", 8, 0},
      {"lycoris_double_stream_blocks_0_block_attn1_to_q", 8, "double_stream_blocks.0.block.attn1.to_q.weight",
       8, 0},
      {"transformer.transformer_blocks.0.img_mlp.net.2", 8, "transformer_blocks.0.img_mlp.net.2.weight", 8,
       0},
      {"noise_refiner.0.attn.to_q", 8, "noise_refiner.0.attn.to_q.weight", 8, 0},
  }));
  CAPTURE(layer);
  const std::string prefix = GENERATE("", "model.diffusion_model.");
  const auto place = place_of(layer, rows, model_of({{prefix + weight, all}}));
  REQUIRE(place);
  CHECK(place->weight == prefix + weight);
  CHECK(place->first_row == first);
}

TEST_CASE("match: halves that other libraries have in the other order", "[lora]") {
  const auto [layer, weight, rows, swapped] = GENERATE(table<std::string, std::string, int64_t, bool>({
      {"transformer.norm_out.linear", "final_layer.adaLN_modulation.1.weight", 16, true},
      {"transformer.transformer_blocks.7.norm1_context.linear",
       "joint_blocks.7.context_block.adaLN_modulation.1.weight", 16,
       true},  // the last block makes two vectors of width 8, the others six
      {"transformer.transformer_blocks.7.norm1_context.linear",
       "joint_blocks.7.context_block.adaLN_modulation.1.weight", 48, false},
      {"transformer.all_final_layer.2-1.linear", "final_layer.linear.weight", 16, false},
  }));
  CAPTURE(layer);
  const Opened model = model_of({{weight, rows}});
  const AdapterFile file = adapter_of({{layer, rows}});
  const Matches found = match(*file.adapter, model.checkpoint, {});
  REQUIRE(found.matched.size() == 1);
  CHECK(found.matched.front().swapped == swapped);
}

TEST_CASE("match: the second encoder of a checkpoint of SDXL, under both libraries' names", "[lora]") {
  const std::string layer = "lora_te2_text_model_encoder_layers_0_";
  const AdapterFile file = adapter_of({{"lora_te1_text_model_encoder_layers_0_mlp_fc1", 16},
                                       {layer + "mlp_fc1", 32},
                                       {layer + "self_attn_q_proj", 8},
                                       {layer + "self_attn_v_proj", 8},
                                       {layer + "self_attn_out_proj", 8}});
  const std::string prefix = GENERATE("conditioner.embedders.1.model.transformer.resblocks.0.",
                                      "text_encoders.clip_g.transformer.text_model.encoder.layers.0.");
  const bool open_clip = prefix.starts_with("conditioner");
  const Opened model =
      open_clip
          ? model_of({{"conditioner.embedders.0.transformer.text_model.encoder.layers.0.mlp.fc1.weight", 16},
                      {prefix + "mlp.c_fc.weight", 32},
                      {prefix + "attn.in_proj_weight", 24},
                      {prefix + "attn.out_proj.weight", 8}})
          : model_of({{"text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1.weight", 16},
                      {prefix + "mlp.fc1.weight", 32},
                      {prefix + "self_attn.q_proj.weight", 8},
                      {prefix + "self_attn.v_proj.weight", 8},
                      {prefix + "self_attn.out_proj.weight", 8}});
  const Matches found = match(*file.adapter, model.checkpoint, {});
  CHECK(found.unmatched.empty());
  REQUIRE(found.matched.size() == 5);
  for (const Match& each : found.matched) {
    CAPTURE(each.layer->name, each.weight->name());
    CHECK(each.weight->name().starts_with(prefix) == each.layer->name.starts_with("lora_te2_"));
    CHECK(each.first_row == (open_clip && each.layer->name.ends_with("v_proj") ? 16 : 0));
  }
}

TEST_CASE("other names: a UNet of Stable Diffusion in a single file", "[lora]") {
  const auto [diffusers, single] = GENERATE(table<std::string, std::string>({
      {"conv_in", "input_blocks_0_0"},
      {"down_blocks_0_resnets_1_conv1", "input_blocks_2_0_in_layers_2"},
      {"down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q",
       "input_blocks_4_1_transformer_blocks_0_attn1_to_q"},
      {"down_blocks_2_downsamplers_0_conv", "input_blocks_9_0_op"},
      {"mid_block_resnets_1_time_emb_proj", "middle_block_2_emb_layers_1"},
      {"mid_block_attentions_0_proj_out", "middle_block_1_proj_out"},
      {"up_blocks_0_resnets_2_conv_shortcut", "output_blocks_2_0_skip_connection"},
      {"up_blocks_3_attentions_1_transformer_blocks_0_ff_net_0_proj",
       "output_blocks_10_1_transformer_blocks_0_ff_net_0_proj"},
      {"up_blocks_1_upsamplers_0_conv", "output_blocks_5_2_conv"},
      {"time_embedding_linear_2", "time_embed_2"},
  }));
  CAPTURE(diffusers);
  const auto place =
      place_of("lora_unet_" + diffusers, 16, model_of({{"model.diffusion_model." + single + ".weight", 16}}));
  REQUIRE(place);
  CHECK(place->weight == "model.diffusion_model." + single + ".weight");
}

TEST_CASE("match: what the model has not is listed, and so is what could be two layers", "[lora]") {
  const Opened model = model_of({{"first.a_b.weight", 16}, {"first.a.b.weight", 16}, {"c.weight", 16}});
  const AdapterFile file = adapter_of({{"lora_unet_first_a_b", 16}, {"c", 16}, {"d", 16}});
  const Matches found = match(*file.adapter, model.checkpoint, {});
  REQUIRE(found.matched.size() == 1);
  CHECK(found.matched.front().layer->name == "c");
  CHECK(found.unmatched == std::vector<std::string>{"d"});
  REQUIRE(found.ambiguous.size() == 1);
  CHECK(found.ambiguous.front().first == "lora_unet_first_a_b");
  CHECK(found.ambiguous.front().second.find("first.a_b") != std::string::npos);
}

TEST_CASE("match: the map comes first, may leave out, and must name what there is", "[lora]") {
  const Opened model = model_of({{"a.weight", 16}, {"b.weight", 16}});
  const AdapterFile file = adapter_of({{"a", 16}, {"x", 16}});
  const Matches found = match(*file.adapter, model.checkpoint, {{"a", "b"}, {"x", ""}});
  REQUIRE(found.matched.size() == 1);
  CHECK(found.matched.front().weight->name() == "b.weight");
  CHECK(found.left_out == std::vector<std::string>{"x"});
  CHECK(found.unmatched.empty());
  CHECK_THROWS_MATCHES(match(*file.adapter, model.checkpoint, {{"x", "nowhere"}}), Error,
                       HasCode(ErrorCode::kBadInput, "nowhere"));
}

TEST_CASE("match: of two text encoders the one whose shapes fit", "[lora]") {
  const std::string rest = "text_model_encoder_layers_0_mlp_fc1";
  const AdapterFile file = adapter_of({{"lora_te1_" + rest, 16}, {"lora_te2_" + rest, 32}});
  const Opened model = model_of({{"text_model.encoder.layers.0.mlp.fc1.weight", 32}});
  const Matches found = match(*file.adapter, model.checkpoint, {});
  REQUIRE(found.matched.size() == 1);
  CHECK(found.matched.front().layer->name == "lora_te2_" + rest);
  CHECK(found.unmatched == std::vector<std::string>{"lora_te1_" + rest});

  const AdapterFile other_part = adapter_of({{"lora_unet_x", 16}, {"lora_te2_" + rest, 16}});
  const Matches unet =
      match(*other_part.adapter,
            model_of({{"x.weight", 16},
                      {"conditioner.embedders.0.transformer.text_model.encoder.layers.0.mlp.fc1.weight", 32}})
                .checkpoint,
            {});
  REQUIRE(unet.matched.size() == 1);
  CHECK(unet.unmatched == std::vector<std::string>{"lora_te2_" + rest});

  const AdapterFile both = adapter_of({{"lora_te1_" + rest, 32}, {"lora_te2_" + rest, 32}});
  const Matches undecided = match(*both.adapter, model.checkpoint, {});
  CHECK(undecided.matched.empty());
  CHECK(undecided.ambiguous.size() == 2);
}

TEST_CASE("match: another shape, a missing bias and codes are refused by name", "[lora]") {
  const auto refuses = [](const AdapterFile& file, const Opened& model, const std::string& word) {
    CHECK_THROWS_MATCHES(match(*file.adapter, model.checkpoint, {}), Error,
                         HasCode(ErrorCode::kBadInput, "'blk.a'", word));
  };
  const AdapterFile file = adapter_of({{"blk.a", 16}});
  refuses(file, model_of({{"blk.a.weight", 15}}), "[15, 8]");
  refuses(file, Opened({stored("blk.a.weight", at::zeros({16, 9}))}), "[16, 9]");
  const AdapterFile narrow(
      {stored("blk.a.lora_A.weight", at::zeros({2, 1})), stored("blk.a.lora_B.weight", at::zeros({16, 2}))});
  refuses(narrow, Opened({stored("blk.a.weight", at::zeros({16}))}), "[16]");
  refuses(file, Opened({stored("blk.a.weight", at::zeros({16, 8}, at::kChar))}), "I8");
  const AdapterFile bias({stored("blk.a.diff_b", at::zeros({16}))});
  refuses(bias, model_of({{"blk.a.weight", 16}}), "a bias");
  refuses(bias, Opened({stored("blk.a.weight", at::zeros({16, 8})), stored("blk.a.bias", at::zeros({15}))}),
          "[15]");
  const AdapterFile part = adapter_of({{"blk.to_q", 16}});
  CHECK_THROWS_MATCHES(match(*part.adapter, model_of({{"blk.qkv.weight", 8}}).checkpoint, {}), Error,
                       HasCode(ErrorCode::kBadInput, "'blk.to_q'"));
}

}  // namespace ctq::lora
