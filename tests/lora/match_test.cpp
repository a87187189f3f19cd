// Which tensors the layers of an adapter belong to.
#include "ctq/lora/match.h"

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

TEST_CASE("other names: only those of FLUX's blocks, by number", "[lora]") {
  CHECK(flux_names("transformer_blocks_x_attn_to_q").empty());
  CHECK(flux_names("transformer_blocks__attn_to_q").empty());
  CHECK(flux_names("single_transformer_blocks_1_attn_to_q").size() == 1);
  CHECK(flux_names("my_x_embedder").empty());
  CHECK(fused_names("blk_attn_to_x").empty());
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
  for (const char* other : {"down_blocks_x_resnets_0_conv1", "down_blocks_1_resnets_0_other", "up_blocks_1",
                            "down_blocks_1_other_0_x", "mid_block_x"})
    CHECK(unet_names(other).empty());
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
