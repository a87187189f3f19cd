// What ComfyUI reads in the text encoders that it knows, by layouts of the published files and by facts that
// ComfyUI itself gave: which layers held a quantized tensor after loading.
#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "client/loader.h"
#include "support/layout.h"

namespace ctq::client {
namespace {

using families::Parts;
using test::Layout;
using test::LayoutTensor;

/// tests/golden/encoders.json: whether it reads, which tables and banks of experts, and which layers stay
/// plain.
nlohmann::json facts() {
  std::ifstream in(CTQ_TEST_GOLDEN "/encoders.json");
  return nlohmann::json::parse(in);
}

Parts parts_of(const Layout& layout, const std::string& prefix = "") {
  return Parts(layout.names(prefix), [&](std::string_view name) {
    name.remove_prefix(prefix.size());
    return std::ranges::find(layout.tensors, name, &LayoutTensor::name)->shape;
  });
}

bool listed(const nlohmann::json& fact, const char* list, const std::string& layer) {
  if (!fact.contains(list)) return false;
  return std::ranges::any_of(fact.at(list), [&](const nlohmann::json& pattern) {
    return families::fits(pattern.get<std::string>(), layer);
  });
}

TEST_CASE("encoders: each is recognised by its names and sizes", "[client]") {
  const auto fact = facts();
  for (const Layout& layout : test::read_layouts("encoders")) {
    CAPTURE(layout.name);
    CHECK(fact.contains(layout.name));
    const Parts parts = parts_of(layout);
    REQUIRE(parts.main());
    CHECK(parts.main()->family->name == layout.family);
    CHECK(parts.main()->prefix.empty());
  }
}

TEST_CASE("encoders: ComfyUI reads the layers that held a quantized tensor in it", "[client]") {
  const auto fact = facts();
  const Client comfyui;
  for (const Layout& layout : test::read_layouts("encoders")) {
    const nlohmann::json& known = fact.at(layout.name);
    const Parts parts = parts_of(layout);
    const Loader loader(comfyui, parts);
    for (const LayoutTensor& tensor : layout.tensors) {
      const bool bank = tensor.shape.size() == 3 && tensor.name.ends_with(".weight");
      if (!tensor.is_matrix() && !bank) continue;
      const std::string layer = tensor.layer();
      CAPTURE(layout.name, layer);
      if (bank) {
        for (const char* format :
             {"float8_e4m3fn", "float8_e5m2", "int8_tensorwise", "nvfp4", "mxfp8", "convrot_w4a4"})
          CHECK((loader.reads(layer, tensor.shape, format) == Obstacle::kNone) ==
                listed(known, "banks", layer));
        continue;
      }
      const bool reads = known.at("reads").get<bool>() && !listed(known, "plain", layer);
      const bool table = listed(known, "tables", layer);
      for (const char* format : {"float8_e4m3fn", "float8_e5m2", "int8_tensorwise"})
        CHECK((loader.reads(layer, tensor.shape, format) == Obstacle::kNone) == reads);
      for (const char* format : {"nvfp4", "mxfp8", "convrot_w4a4"})
        CHECK((loader.reads(layer, tensor.shape, format) == Obstacle::kNone) == (reads && !table));
    }
  }
}

TEST_CASE("encoders: inside a checkpoint the diffusion model's family decides", "[client]") {
  const Client comfyui;
  const std::vector<Layout> layouts = test::read_layouts("encoders");
  const Layout& t5 = *std::ranges::find(layouts, "t5xxl", &Layout::name);
  const auto obstacle = [&](const std::string& prefix, const std::vector<std::string>& model) {
    std::vector<std::string> names = t5.names(prefix);
    names.insert(names.end(), model.begin(), model.end());
    std::ranges::sort(names);
    const Parts parts(names);
    return Loader(comfyui, parts)
        .reads(prefix + "encoder.block.0.layer.0.SelfAttention.k", std::vector<int64_t>{4096, 4096},
               "float8_e4m3fn");
  };
  const std::string usual = "text_encoders.t5xxl.transformer.";
  CHECK(obstacle(usual, {"model.diffusion_model.of.0.nobody.weight"}) == Obstacle::kInCheckpoint);
  CHECK(obstacle(usual, {"some.0.model.weight"}) == Obstacle::kInCheckpoint);
  // Nothing says of which checkpoint it becomes a part.
  CHECK(obstacle(usual, {}) == Obstacle::kNone);
  CHECK(obstacle("", {}) == Obstacle::kNone);
}

TEST_CASE("encoders: each class of checkpoints reads its own, under its own prefix", "[client]") {
  const Client comfyui;
  const std::vector<Layout> encoders = test::read_layouts("encoders");
  const auto obstacle = [&](const std::string& model, const std::string& encoder, const std::string& prefix) {
    const Layout layout = test::read_layout(CTQ_TEST_GOLDEN "/layouts/" + model + ".txt");
    const Layout& inside = *std::ranges::find(encoders, encoder, &Layout::name);
    std::vector<std::string> names = layout.names("model.diffusion_model.");
    for (const std::string& name : inside.names(prefix)) names.push_back(name);
    std::ranges::sort(names);
    const Parts parts(names);
    const std::string layer = std::ranges::find_if(inside.tensors, &LayoutTensor::is_matrix)->layer();
    return Loader(comfyui, parts).reads(prefix + layer, std::vector<int64_t>{4096, 4096}, "float8_e4m3fn");
  };
  const std::string usual = "text_encoders.", old = "cond_stage_model.";
  CHECK(obstacle("flux_dev_full", "t5xxl", usual + "t5xxl.transformer.") == Obstacle::kNone);
  CHECK(obstacle("flux_dev_full", "clip_l", usual + "clip_l.transformer.") == Obstacle::kPlainModel);
  CHECK(obstacle("chroma_full", "t5xxl", old + "t5xxl.transformer.") == Obstacle::kNone);
  CHECK(obstacle("chroma_full", "t5xxl", usual + "t5xxl.transformer.") == Obstacle::kPlainModel);
  CHECK(obstacle("pixart_sigma", "t5xxl", usual + "t5xxl.transformer.") == Obstacle::kPlainModel);
  CHECK(obstacle("sd35_large", "t5xxl", usual + "t5xxl.transformer.") == Obstacle::kNone);
  CHECK(obstacle("qwen_image_60", "qwen25_7b", usual + "qwen25_7b.transformer.") == Obstacle::kNone);
  CHECK(obstacle("anima", "qwen3_06b", old + "qwen3_06b.transformer.") == Obstacle::kNone);
  CHECK(obstacle("ace_step15", "qwen3_06b", usual + "qwen3_06b.transformer.") == Obstacle::kPlainModel);
  CHECK(obstacle("ace_step15", "qwen3_2b_ovis", usual + "qwen3_2b.transformer.") == Obstacle::kNone);
  CHECK(obstacle("pixeldit", "gemma2_2b", usual + "gemma2_2b.") == Obstacle::kPlainModel);
  CHECK(obstacle("lumina2_full", "gemma2_2b", usual + "gemma2_2b.transformer.") == Obstacle::kNone);
}

TEST_CASE("encoders: a reason names the model", "[client]") {
  const Client comfyui;
  const std::vector<Layout> layouts = test::read_layouts("encoders");
  const Parts parts = parts_of(*std::ranges::find(layouts, "clip_l", &Layout::name));
  const Loader loader(comfyui, parts);
  const std::string layer = "text_model.encoder.layers.0.mlp.fc1";
  CHECK(loader.why(layer, loader.reads(layer, std::vector<int64_t>{3072, 768}, "nvfp4")) ==
        "ComfyUI reads CLIP text models (L, H, G) as plain numbers, without scales");
  CHECK(loader.why(layer, Obstacle::kNone).empty());
}

}  // namespace
}  // namespace ctq::client
