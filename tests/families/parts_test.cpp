#include "families/parts.h"

#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "families/sensitive.h"

namespace ctq::families {
namespace {

using Names = std::vector<std::string>;

Names sorted(Names names) {
  std::ranges::sort(names);
  return names;
}

/// "flux", or the kind where the family is not known.
std::string_view is(const Parts& parts, std::string_view tensor) {
  const Part& part = parts.of(tensor);
  return part.family ? part.family->name : kind_name(part.kind);
}

TEST_CASE("patterns: numbers, and any rest", "[families]") {
  CHECK(fits("blocks.#.attn.qkv", "blocks.12.attn.qkv"));
  CHECK(fits("img_in", "img_in"));
  CHECK(fits("visual.*", "visual.blocks.0.mlp"));
  CHECK_FALSE(fits("blocks.#.attn", "blocks..attn"));
  CHECK_FALSE(fits("blocks.#", "blocks.x"));
  CHECK_FALSE(fits("img_in", "img_in.x"));
  CHECK_FALSE(fits("img_in.x", "img_in"));
  CHECK_FALSE(fits("", "x"));
}

TEST_CASE("in_block: a number that is followed by more than numbers", "[families]") {
  for (const char* layer : {"blocks.3.attn.qkv", "input_blocks.4.1.transformer_blocks.0.attn2.to_k", "a.0.b"})
    CHECK(in_block(layer));
  for (const char* layer : {"img_in", "mlp.0", "label_emb.0.0", "vision_in.proj.1", "3", ""})
    CHECK_FALSE(in_block(layer));
}

TEST_CASE("sensitive_word: embedders, times, routers, heads", "[families]") {
  CHECK(sensitive_word("blocks.0.time_mlp.0") == "time_mlp");
  CHECK(sensitive_word("layers.3.moe.gate") == "gate");
  CHECK(sensitive_word("layers.3.router.proj") == "router");
  CHECK(sensitive_word("x_embedder.blocks.0.proj") == "x_embedder");
  for (const char* layer : {"blocks.0.mlp.gate_proj", "blocks.0.attn.qkv", "layers.1.multihead.out", ""})
    CHECK(sensitive_word(layer).empty());
}

TEST_CASE("parts: a checkpoint holds models under prefixes, each of its own family", "[families]") {
  const Parts parts(sorted(
      {"model.diffusion_model.double_blocks.0.img_attn.qkv.weight",
       "model.diffusion_model.single_blocks.0.linear1.weight",
       "model.diffusion_model.vector_in.in_layer.weight", "model.diffusion_model.time_in.in_layer.weight",
       "model.diffusion_model.final_layer.linear.weight",
       "text_encoders.t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.k.weight",
       "text_encoders.t5xxl.transformer.encoder.block.23.layer.1.DenseReluDense.wi_1.weight",
       "text_encoders.other.x.weight", "vae.decoder.conv_in.weight", "stray.weight"}));
  CHECK(is(parts, "model.diffusion_model.img_in.weight") == "flux");
  CHECK(is(parts, "text_encoders.t5xxl.transformer.shared.weight") == "t5");
  CHECK(is(parts, "text_encoders.other.x.weight") == "text encoder");
  CHECK(is(parts, "vae.decoder.conv_in.weight") == "VAE");
  CHECK(is(parts, "stray.weight") == "other tensors");
  REQUIRE(parts.main());
  CHECK(parts.main()->prefix == "model.diffusion_model.");
  CHECK(parts.main()->numbered);
}

TEST_CASE("parts: sizes tell families with the same names apart, where they are known", "[families]") {
  const Names names = sorted({"encoder.block.0.layer.0.SelfAttention.k.weight"});
  const auto of_rows = [&](int64_t rows) {
    return Parts(names, [rows](std::string_view) { return std::vector<int64_t>{rows, 1472}; });
  };
  CHECK(is(of_rows(384), names[0]) == "byt5");
  CHECK(is(of_rows(768), names[0]) == "t5_base");
  CHECK(is(of_rows(128), names[0]) == "other tensors");
  CHECK(is(Parts(names), names[0]) == "other tensors");
}

TEST_CASE("parts: a whole checkpoint of Stable Diffusion, and an encoder in it", "[families]") {
  const Parts parts(
      sorted({"model.diffusion_model.out.0.weight",
              "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight",
              "conditioner.embedders.1.model.transformer.resblocks.0.mlp.c_fc.weight",
              "embedder.model.visual.transformer.resblocks.0.attn.in_proj_weight",
              "embedder.model.visual.transformer.resblocks.0.mlp.c_fc.weight",
              "first_stage_model.decoder.conv_in.weight", "first_stage_model.decoder.conv_out.weight"}));
  const auto kind = [&](std::string_view tensor) { return parts.of(tensor).kind; };
  CHECK(is(parts, "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc2.weight") == "clip");
  CHECK(is(parts, "conditioner.embedders.1.model.transformer.resblocks.0.mlp.c_proj.weight") == "clip");
  CHECK(kind("embedder.model.visual.transformer.resblocks.0.mlp.c_fc.weight") == Kind::kVision);
  CHECK(is(parts, "first_stage_model.encoder.mid.attn_1.q.weight") == "vae");
  REQUIRE(parts.diffusion());
  CHECK(parts.diffusion()->prefix == "model.diffusion_model.");
  CHECK(parts.inside_checkpoint(parts.of("cond_stage_model.transformer.text_model.x.weight")));
  CHECK_FALSE(parts.inside_checkpoint(parts.of("first_stage_model.x.weight")));
}

TEST_CASE("parts: what stands alone is named as what it is", "[families]") {
  const auto names = [](std::string_view family, const Names& tensors) {
    CAPTURE(tensors.front());
    const Parts parts(sorted(tensors));
    REQUIRE(parts.main());
    CHECK(parts.main()->family->name == family);
  };
  names("clip_vision",
        {"vision_model.embeddings.patch_embedding.weight", "vision_model.encoder.layers.0.layer_norm1.weight",
         "vision_model.encoder.layers.0.mlp.fc1.weight"});
  names("style_model", {"redux_down.weight", "redux_up.weight"});
  names("gligen",
        {"position_net.null_positive_feature", "output_blocks.9.1.transformer_blocks.0.fuser.linear.weight"});
  names("control_model", {"control_img_in.weight", "control_blocks.0.after_proj.weight"});
  names("vae", {"decoder.conv_in.weight", "decoder.conv_out.weight", "encoder.conv_in.weight"});
  names("minimax_h3_vae", {"decoder.transformer_blocks.0.scale1", "encoder.down.5.block.0.conv1.weight"});
  names("audio_encoder", {"encoder.layer_norm.bias", "feature_projection.projection.weight",
                          "encoder.layers.0.attention.k_proj.weight"});
}

TEST_CASE("table_of: by the last part of the name", "[families]") {
  CHECK(table_of("model.embed_tokens") == Table::kTokens);
  CHECK(table_of("shared") == Table::kTokens);
  CHECK(table_of("embeddings.position_embeddings") == Table::kPositions);
  CHECK(table_of("shared.0") == Table::kNone);
  CHECK(table_of("my_shared") == Table::kNone);
}

TEST_CASE("parts: one model of which nothing is known", "[families]") {
  const Parts parts(sorted({"layers.0.w.weight", "layers.1.w.weight", "head.weight"}));
  REQUIRE(parts.all().size() == 1);
  CHECK(parts.all()[0].prefix.empty());
  CHECK(parts.all()[0].family == nullptr);
  CHECK(parts.all()[0].numbered);
  CHECK(parts.main() == nullptr);
  CHECK_FALSE(Parts(sorted({"a.weight"})).all()[0].numbered);
  CHECK(Parts(Names{}).all().size() == 1);
}

TEST_CASE("families: each has a name of its own, and a signature that begins with a run of parts",
          "[families]") {
  for (const Family* family : families()) {
    CAPTURE(family->name);
    CHECK(find_family(family->name) == family);
    CHECK_FALSE(family->title.empty());
    CHECK_FALSE(family->signatures.empty());
    for (const Signature& signature : family->signatures) CHECK_FALSE(signature.all.front().empty());
  }
  CHECK(find_family("no such family") == nullptr);
}

}  // namespace
}  // namespace ctq::families
