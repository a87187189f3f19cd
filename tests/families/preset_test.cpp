#include "families/preset.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "support/matchers.h"

namespace ctq::families {
namespace {

using test::HasCode;
using Names = std::vector<std::string>;

ActivePresets active(const Names& presets, FilterSet set = FilterSet::kSeed, const Names& tensors = {}) {
  return ActivePresets(presets, set, tensors);
}

/// "flux2 exclude img_in", or empty.
std::string text(const std::optional<PresetHit>& hit) {
  return hit ? hit->preset + " " + hit->list + " " + hit->pattern : "";
}

bool protects(const std::string& preset, FilterSet set, const std::string& tensor) {
  return active({preset}, set).protects(tensor).has_value();
}

TEST_CASE("presets: 15 from the seed, 25 of the peer, and our own", "[families]") {
  CHECK(presets().size() > 26);
  std::set<std::string_view> names;
  int seed = 0, peer = 0, both = 0, different = 0;
  for (const Preset* row : presets()) {
    const Preset& preset = *row;
    CAPTURE(preset.name);
    names.insert(preset.name);
    seed += preset.seed.has_value();
    peer += preset.peer.has_value();
    CHECK(preset.from_seed == preset.seed.has_value());
    CHECK_FALSE(preset.help.empty());
    CHECK(find_preset(preset.name) == &preset);
    CHECK(std::any_of(preset_categories().begin(), preset_categories().end(),
                      [&](const PresetCategory& category) { return category.key == preset.category; }));
    if (!preset.seed || !preset.peer) continue;
    ++both;
    const auto same = [](auto a, auto b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); };
    different += !same(preset.seed->exclude, preset.peer->exclude) ||
                 !same(preset.seed->highprec, preset.peer->highprec) ||
                 !same(preset.seed->remove, preset.peer->remove);
  }
  CHECK(names.size() > 26);
  CHECK(seed == 15);
  CHECK(peer == 25);
  CHECK(both == 14);
  CHECK(different == 6);
  CHECK(find_preset("flux3") == nullptr);
}

TEST_CASE("presets: order, categories and marks of the registry", "[families]") {
  Names order, text_encoders, last_layer;
  for (const Preset* row : presets()) {
    const Preset& preset = *row;
    order.emplace_back(preset.name);
    if (preset.text_encoder) text_encoders.emplace_back(preset.name);
    if (preset.exclude_final_language_layer) last_layer.emplace_back(preset.name);
  }
  order.resize(26);  // those of the two programs stand first
  CHECK(order == Names{"t5xxl",
                       "mistral",
                       "visual",
                       "flux2",
                       "distillation_large",
                       "distillation_small",
                       "nerf_large",
                       "nerf_small",
                       "radiance",
                       "wan",
                       "hunyuan",
                       "qwen",
                       "zimage",
                       "zimage_refiner",
                       "lora",
                       "gemma4",
                       "qwen_vlm",
                       "qwen35",
                       "generic_text",
                       "anima",
                       "lens",
                       "krea2",
                       "ideogram4",
                       "minimaxh3",
                       "boogu",
                       "ltxv2"});
  CHECK(text_encoders == Names{"t5xxl", "mistral", "visual", "qwen_vlm", "qwen35", "generic_text"});
  CHECK(last_layer == Names{"qwen_vlm"});
  CHECK(find_preset("qwen35")->alias_for == "qwen_vlm");
  CHECK(find_preset("krea2")->preserve_dtype.size() == 1);

  Names keys, headings;
  for (const PresetCategory& category : preset_categories()) {
    keys.emplace_back(category.key);
    headings.emplace_back(category.heading);
  }
  CHECK(keys == Names{"text", "diffusion", "video", "image"});
  CHECK(headings.front() == "Text Encoders");
}

TEST_CASE("presets: the lists, by their lengths", "[families]") {
  struct Lengths {
    std::string_view name;
    size_t exclude, highprec, remove;
  };
  const auto expected = GENERATE(values<Lengths>({{"t5xxl", 30, 0, 2},
                                                  {"mistral", 30, 0, 0},
                                                  {"visual", 3, 0, 0},
                                                  {"flux2", 0, 6, 0},
                                                  {"distillation_large", 0, 4, 0},
                                                  {"distillation_small", 0, 1, 0},
                                                  {"nerf_large", 0, 4, 0},
                                                  {"nerf_small", 0, 3, 0},
                                                  {"radiance", 0, 3, 0},
                                                  {"wan", 30, 14, 0},
                                                  {"hunyuan", 11, 0, 0},
                                                  {"qwen", 5, 6, 0},
                                                  {"zimage", 11, 9, 0},
                                                  {"zimage_refiner", 11, 2, 0},
                                                  {"lora", 2, 0, 0},
                                                  {"gemma4", 5, 0, 0},
                                                  {"qwen_vlm", 7, 0, 0},
                                                  {"qwen35", 0, 0, 0},
                                                  {"generic_text", 0, 0, 0},
                                                  {"ltxv2", 0, 25, 0}}));
  CAPTURE(expected.name);
  const Preset& preset = *find_preset(expected.name);
  const PatternLists& lists = preset.from_seed ? *preset.seed : *preset.peer;
  CHECK(lists.exclude.size() == expected.exclude);
  CHECK(lists.highprec.size() == expected.highprec);
  CHECK(lists.remove.size() == expected.remove);
}

TEST_CASE("presets: a pattern is a substring of the whole name", "[families]") {
  CHECK(text(active({"zimage"}).protects("norm_out.linear.weight")) == "zimage exclude norm");
  CHECK(text(active({"flux2"}).protects("img_in_patch.weight")) == "flux2 highprec img_in");
  CHECK(text(active({"krea2"}).protects("class_embed.weight")) == "krea2 highprec las");
  CHECK(text(active({"qwen_vlm"}).protects("model.layers.0.mlp.up_proj.weight")) ==
        "qwen_vlm exclude .layers.0.");
  CHECK_FALSE(active({"qwen_vlm"}).protects("model.layers.10.mlp.up_proj.weight"));
  CHECK_FALSE(active({"qwen_vlm"}).protects("layers.0.mlp.up_proj.weight"));  // nothing before the dot
  CHECK(text(active({"ltxv2"}).protects("single_transformer_blocks.0.ff.weight")) ==
        "ltxv2 highprec transformer_blocks.0.");
  CHECK_FALSE(active({"flux2"}).protects("IMG_IN.weight"));
  CHECK_FALSE(active({"ltxv2"}).protects("transformer_blocks_0_ff.weight"));  // a dot is a dot
  CHECK(active({"flux2"}).protects("層.img_in.\xff"));
}

TEST_CASE("presets: exclude is tested before highprec, presets in registry order", "[families]") {
  const std::string both = "cap_embedder.0.final_layer.weight";
  CHECK(text(active({"zimage"}).protects(both)) == "zimage exclude cap_embedder.0");
  CHECK(text(active({"qwen", "flux2"}).protects("img_in.weight")) == "flux2 highprec img_in");
  CHECK(text(active({"zimage", "flux2"}).protects("final_layer.norm.weight")) ==
        "flux2 highprec final_layer");
  CHECK(text(active({"qwen", "flux2"}).protects("proj_out.weight")) == "qwen highprec proj_out");
}

TEST_CASE("presets: where seed and peer differ, --filter-set decides", "[families]") {
  struct Difference {
    std::string preset, tensor;
    bool seed, peer;
  };
  const auto row = GENERATE(values<Difference>({
      {"t5xxl", "mm_input_projection_weight", false, true},
      {"mistral", "mm_input_projection_weight", false, true},
      {"wan", "mm_input_projection_weight", false, true},
      {"nerf_large", "double_blocks.0.img_attn.proj.weight", false, true},
      {"zimage", "norm_out.weight", true, false},
      {"zimage", "x.bias.weight", true, false},
      {"zimage", "pos_embed.weight", true, false},
      {"zimage", "proj_out.weight", true, false},
      {"zimage_refiner", "norm_out.weight", true, false},
      {"zimage_refiner", "x.bias.weight", true, false},
      {"lora", "a.alpha.weight", true, true},    // only the seed has it
      {"gemma4", "audio.q.weight", true, true},  // only the peer has it
      {"flux2", "time_in.in_layer.weight", true, true},
  }));
  CAPTURE(row.preset, row.tensor);
  CHECK(protects(row.preset, FilterSet::kSeed, row.tensor) == row.seed);
  CHECK(protects(row.preset, FilterSet::kPeer, row.tensor) == row.peer);
  CHECK(protects(row.preset, FilterSet::kUnion, row.tensor));
}

TEST_CASE("presets: a removed tensor may have any name that holds the pattern", "[families]") {
  ActivePresets presets = active({"t5xxl"});
  CHECK(text(presets.removes("decoder.block.0.layer.0.SelfAttention.q.bias")) == "t5xxl remove decoder");
  CHECK(text(presets.removes("lm_head.weight")) == "t5xxl remove lm_head");
  CHECK(text(presets.removes("decoder.final_layer_norm.weight")) == "t5xxl remove decoder");
  CHECK_FALSE(presets.removes("encoder.block.0.layer.0.SelfAttention.q.weight"));
  CHECK_FALSE(active({"mistral"}).removes("lm_head.weight"));
  CHECK_FALSE(active({}).removes("decoder.weight"));
}

TEST_CASE("presets: those that hit nothing are named", "[families]") {
  ActivePresets presets = active({"wan", "flux2", "t5xxl", "mistral", "generic_text"});
  CHECK(presets.unused() == Names{"t5xxl", "mistral", "flux2", "wan"});  // generic_text has no patterns
  presets.protects("img_in.weight");
  CHECK(presets.unused() == Names{"t5xxl", "mistral", "wan"});
  presets.removes("decoder.bias");
  CHECK(presets.unused() == Names{"mistral", "wan"});
  presets.protects("shared.weight");  // mistral and wan hit it too, behind t5xxl
  CHECK(presets.unused().empty());
}

TEST_CASE("presets: none active", "[families]") {
  ActivePresets none = active({});
  CHECK(none.empty());
  CHECK_FALSE(none.protects("norm.weight"));
  CHECK(none.unused().empty());
  CHECK_FALSE(active({"generic_text"}).empty());
}

TEST_CASE("presets: an alias acts as its target, under the name it was asked for", "[families]") {
  const Names tensors = {"model.layers.0.a.weight", "model.layers.7.a.weight"};
  CHECK(text(active({"qwen35"}, FilterSet::kSeed, tensors).protects("lm_head.weight")) ==
        "qwen35 exclude lm_head");
  CHECK(text(active({"qwen35"}, FilterSet::kSeed, tensors).protects("model.layers.7.a.weight")) ==
        "qwen35 exclude model.layers.7.");
  ActivePresets both = active({"qwen35", "qwen_vlm"}, FilterSet::kUnion, tensors);
  CHECK(text(both.protects("lm_head.weight")) == "qwen_vlm exclude lm_head");
  CHECK(both.unused().empty());
}

TEST_CASE("presets: the last language layer is protected, for each prefix", "[families]") {
  const Names tensors = {"model.language_model.layers.2.mlp.up_proj.weight",
                         "model.language_model.layers.11.mlp.up_proj.weight",
                         "model.language_model.layers.9.mlp.up_proj.weight",
                         "text.model.layers.3.q.weight",
                         "text.model.layers.20.q.weight",
                         "vision.layers.99.q.weight",
                         "my_model.layers.50.q.weight",
                         "model.layers.60",
                         "model.layers.x.weight",
                         "model.layers..weight"};
  const auto hit = [&](const std::string& name) {
    return text(active({"qwen_vlm"}, FilterSet::kSeed, tensors).protects(name));
  };
  CHECK(hit("model.language_model.layers.11.mlp.up_proj.weight") ==
        "qwen_vlm exclude model.language_model.layers.11.");
  CHECK(hit("text.model.layers.20.q.weight") == "qwen_vlm exclude model.layers.20.");
  CHECK(hit("model.language_model.layers.9.mlp.up_proj.weight").empty());
  CHECK(hit("model.language_model.layers.110.mlp.up_proj.weight").empty());
  CHECK(hit("text.model.layers.3.q.weight").empty());
  CHECK(hit("vision.layers.99.q.weight").empty());
  CHECK(hit("my_model.layers.50.q.weight").empty());
  CHECK(hit("model.layers.60").empty());
}

TEST_CASE("presets: layer indexes compare as numbers of any length", "[families]") {
  const Names tensors = {"model.layers.9.a", "model.layers.0010.a", "language_model.layers.5.a",
                         "language_model.layers.99999999999999999999998.a",
                         "language_model.layers.99999999999999999999999.a"};
  ActivePresets presets = active({"qwen_vlm"}, FilterSet::kSeed, tensors);
  CHECK(text(presets.protects("model.layers.10.a")) == "qwen_vlm exclude model.layers.10.");
  CHECK_FALSE(presets.protects("model.layers.9.a"));
  CHECK(presets.protects("language_model.layers.99999999999999999999999.a"));
  CHECK_FALSE(presets.protects("language_model.layers.99999999999999999999998.a"));
}

TEST_CASE("presets: an unknown name is refused with a suggestion", "[families]") {
  CHECK_THROWS_MATCHES(active({"fluxx"}), Error,
                       HasCode(ErrorCode::kUsage, "no layer preset 'fluxx'", "did you mean 'flux2'"));
  CHECK_THROWS_MATCHES(active({"something_else"}), Error, HasCode(ErrorCode::kUsage, "'something_else'"));
}

}  // namespace
}  // namespace ctq::families
