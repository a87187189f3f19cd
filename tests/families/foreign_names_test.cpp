// Names of other libraries, and ComfyUI's.
#include "families/foreign_names.h"

#include <algorithm>
#include <set>

#include <catch2/catch.hpp>

#include "support/layout.h"

namespace ctq::families {
namespace {

const Naming& naming(std::string_view title) {
  const auto found = std::ranges::find(namings(), title, &Naming::title);
  REQUIRE(found != namings().end());
  return **found;
}

std::string only(const std::vector<OwnName>& names) {
  REQUIRE(names.size() == 1);
  return names.front().name;
}

std::vector<std::string> sorted(std::vector<std::string> names) {
  std::ranges::sort(names);
  return names;
}

}  // namespace

TEST_CASE("foreign names: a number stands for itself, in order, and nothing else does", "[families]") {
  const NameMap map(std::vector<ForeignName>{{"a.#.b.#.c", "x.#.y.#", 1, 3}, {"d.*", "e.*"}});
  CHECK(only(map.find("a.12.b.3.c")) == "x.12.y.3");
  CHECK(map.find("a.12.b.3.c").front().part == 1);
  CHECK(only(map.find("d.anything.0")) == "e.anything.0");
  CHECK(only(map.find_flat("a_12_b_3_c")) == "x_12_y_3");
  for (const char* other : {"a.x.b.3.c", "a..b.3.c", "a.1.b.3", "a.1.b.3.c.d", "d.", "d", "za.1.b.2.c"})
    CHECK(map.find(other).empty());
}

TEST_CASE("foreign names: the parts of every joined layer are complete, and each row is of use",
          "[families]") {
  for (const Naming* each : namings()) {
    CAPTURE(each->title, each->source);
    std::set<std::string_view> foreign;
    for (const ForeignName& row : each->rows) {
      CAPTURE(row.foreign);
      CHECK(foreign.insert(row.foreign).second);
      CHECK(row.part < row.parts);
      CHECK(std::ranges::count(row.foreign, '#') == std::ranges::count(row.own, '#'));
      if (!each->whole_models) continue;
      std::set<int> parts;
      for (const ForeignName& other : each->rows) {
        if (other.own == row.own && other.parts == row.parts) parts.insert(other.part);
      }
      CHECK(parts.size() == row.parts);
    }
  }
}

TEST_CASE("foreign names: models that only look alike are left alone", "[families]") {
  const auto names = GENERATE(values<std::vector<std::string>>({
      // Qwen-Image, LTX-Video, a VAE, a ControlNet, a UNet of videos, Bria: theirs are other tables, or none
      {"img_in.weight", "transformer_blocks.0.attn.add_q_proj.weight",
       "transformer_blocks.0.attn.to_q.weight"},
      {"adaln_single.emb.timestep_embedder.linear_1.bias", "caption_projection.linear_1.weight",
       "patchify_proj.weight", "transformer_blocks.0.attn1.to_q.weight"},
      {"decoder.conv_in.weight", "encoder.conv_in.weight", "encoder.down_blocks.0.resnets.0.conv1.weight"},
      {"context_embedder.weight", "controlnet_blocks.0.weight",
       "single_transformer_blocks.0.norm.linear.weight", "transformer_blocks.0.attn.add_q_proj.weight",
       "x_embedder.weight"},
      {"conv_in.weight", "down_blocks.0.resnets.0.spatial_res_block.conv1.weight",
       "time_embedding.linear_1.weight", "up_blocks.0.resnets.0.spatial_res_block.conv1.weight"},
      {"context_embedder.weight", "single_transformer_blocks.0.norm.linear.weight",
       "time_embed.timestep_embedder.linear_1.weight", "transformer_blocks.0.attn.add_q_proj.weight",
       "x_embedder.weight"},
  }));
  CAPTURE(names);
  CHECK(naming_of(sorted(names)) == nullptr);
}

TEST_CASE("foreign names: no model under ComfyUI's names is taken for another library's", "[families]") {
  for (const test::Layout& layout : test::read_layouts()) {
    CAPTURE(layout.name);
    std::set<std::string> prefixes{""};
    for (const char* prefix : {"model.diffusion_model.", "model.", "net."}) prefixes.insert(prefix);
    for (const std::string& prefix : prefixes) {
      std::vector<std::string> names;
      for (const std::string& name : layout.names()) {
        if (name.starts_with(prefix)) names.push_back(name.substr(prefix.size()));
      }
      CHECK(naming_of(sorted(names)) == nullptr);
    }
  }
}

TEST_CASE("foreign names: a UNet's blocks are counted by what its levels have", "[families]") {
  const Naming& unet = naming("Stable Diffusion");
  // Two levels of one residual block each, attention in the inner one alone.
  const NameMap small =
      unet.map(sorted({"down_blocks.0.resnets.0.conv1.weight", "down_blocks.0.downsamplers.0.conv.weight",
                       "down_blocks.1.resnets.0.conv1.weight", "down_blocks.1.attentions.0.norm.weight",
                       "up_blocks.0.resnets.0.conv1.weight", "up_blocks.0.resnets.1.conv1.weight",
                       "up_blocks.0.attentions.0.norm.weight", "up_blocks.0.upsamplers.0.conv.weight",
                       "up_blocks.1.resnets.0.conv1.weight", "up_blocks.1.resnets.1.conv1.weight"}));
  CHECK(only(small.find("down_blocks.0.downsamplers.0.conv")) == "input_blocks.2.0.op");
  CHECK(only(small.find("down_blocks.1.attentions.0.proj_in")) == "input_blocks.3.1.proj_in");
  CHECK(only(small.find("up_blocks.0.upsamplers.0.conv")) == "output_blocks.1.2.conv");
  CHECK(only(small.find("up_blocks.1.resnets.0.conv2")) == "output_blocks.2.0.out_layers.3");
  // The same from the names of a single file.
  const NameMap single =
      unet.map(sorted({"input_blocks.0.0.weight", "input_blocks.1.0.in_layers.0.weight",
                       "input_blocks.2.0.op.weight", "input_blocks.3.0.in_layers.0.weight",
                       "input_blocks.3.1.norm.weight", "output_blocks.0.0.in_layers.0.weight",
                       "output_blocks.1.0.in_layers.0.weight", "output_blocks.1.2.conv.weight",
                       "output_blocks.2.0.in_layers.0.weight", "output_blocks.3.0.in_layers.0.weight"}));
  for (const char* name : {"down_blocks.0.downsamplers.0.conv", "down_blocks.1.attentions.0.proj_in",
                           "up_blocks.0.upsamplers.0.conv", "up_blocks.1.resnets.0.conv2"})
    CHECK(only(single.find(name)) == only(small.find(name)));
  // Without any: two residual blocks a level, three on the way up.
  CHECK(only(unet.map({}).find("up_blocks.3.attentions.1.norm")) == "output_blocks.10.1.norm");
  CHECK(unet.map({}).find("down_blocks.1.other.0.x").empty());
}

}  // namespace ctq::families
