// Layers with a target of their own: custom layers, the fallback, and a layer configuration, through plans.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "plan/plan.h"
#include "support/make_checkpoint.h"
#include "support/matchers.h"

namespace ctq::plan {
namespace {

using format::Layout;
using test::bf16_vector;
using test::bf16_weight;
using test::HasCode;
using test::TempDir;

/// Two blocks of attention and MLP, the first and the last projection of a Flux model, a table and a norm.
class FluxLike {
 public:
  FluxLike() {
    std::vector<test::TestTensor> tensors = {
        bf16_weight("img_in.weight", 64, 32), bf16_weight("final_layer.linear.weight", 32, 64),
        bf16_weight("embed_tokens.weight", 32, 32), bf16_vector("norm.weight", 32)};
    for (const std::string block : {"double_blocks.0.", "double_blocks.5."}) {
      tensors.push_back(bf16_weight(block + "img_attn.proj.weight", 64, 64));
      tensors.push_back(bf16_weight(block + "img_attn.qkv.weight", 96, 64));
      tensors.push_back(bf16_weight(block + "img_mlp.0.weight", 128, 64));
    }
    test::make_checkpoint(dir_ / "m.safetensors", tensors);
    checkpoint_.emplace(model::Checkpoint::open(dir_ / "m.safetensors"));
  }
  Plan plan(const Options& options, const ValueFindings& findings = {}) const {
    return make_plan(*checkpoint_, options, "out.safetensors", findings);
  }

 private:
  TempDir dir_;
  std::optional<model::Checkpoint> checkpoint_;
};

Target int8_block(int64_t size) { return {codec_of_type("int8", "block"), size}; }
Target int8_row() { return {codec_of_type("int8", "row"), 0}; }
Target fp8() { return {codec_of_type("fp8", "tensor"), 0}; }

Options options_for(const Target& target) {
  Options options;
  options.target = target;
  return options;
}
Options with_config(const Target& target, const std::string& json) {
  Options options = options_for(target);
  options.layer_config = LayerConfig::parse(json, {});
  return options;
}
CustomLayers custom(const std::string& pattern, const Target& target) {
  return {
      .pattern = Pattern(pattern), .target = target, .heuristic = false, .full_precision_matrix_mult = {}};
}

/// "int8_tensorwise (row): target", "keep: embedding table".
std::string fate(const Plan& plan, std::string_view layer) {
  const TensorPlan* tensor = plan.find(std::string(layer) + ".weight");
  REQUIRE(tensor != nullptr);
  const bool changed = tensor->decision == Decision::kQuantize || tensor->decision == Decision::kCast;
  return fmt::format("{}: {}", changed ? tensor->target.label() : decision_name(tensor->decision),
                     tensor->reason);
}

/// The markers of a comfy file: layer -> JSON.
std::map<std::string, nlohmann::json> markers(const Plan& plan) {
  constexpr std::string_view kSuffix = ".comfy_quant";
  std::map<std::string, nlohmann::json> found;
  for (const Generated& generated : plan.generated) {
    REQUIRE(generated.info.name.ends_with(kSuffix));
    found[generated.info.name.substr(0, generated.info.name.size() - kSuffix.size())] =
        nlohmann::json::parse(generated.bytes);
  }
  return found;
}

TEST_CASE("custom layers: win over patterns and presets, and say so", "[plan]") {
  const FluxLike model;
  Options options = options_for(int8_row());
  options.custom = custom("^img_in\\.weight$|qkv", fp8());
  options.exclude_layers.emplace("qkv|proj");
  options.presets = {"flux2"};
  const Plan plan = model.plan(options);
  CHECK(fate(plan, "img_in") == "float8_e4m3fn (tensor): custom");
  CHECK(fate(plan, "double_blocks.0.img_attn.qkv") == "float8_e4m3fn (tensor): custom");
  CHECK(fate(plan, "double_blocks.0.img_attn.proj") == "keep: excluded by pattern");
  CHECK(fate(plan, "double_blocks.0.img_mlp.0") == "int8_tensorwise (row): target");
  CHECK(fate(plan, "final_layer.linear") == "keep: preset flux2: 'final_layer'");
  CHECK(fate(plan, "embed_tokens") == "keep: embedding table");
  CHECK(plan.unused.empty());
  CHECK(plan.layout == Layout::kComfy);  // two formats
}

TEST_CASE("custom layers: a pattern that hits no candidate is named", "[plan]") {
  const FluxLike model;
  Options options = options_for(int8_row());
  options.custom = custom("embed_tokens|^norm", fp8());
  CHECK(model.plan(options).unused ==
        std::vector<std::string>{"--custom-layers 'embed_tokens|^norm' matches no candidate"});
}

TEST_CASE("custom layers: have their own heuristic and block size", "[plan]") {
  const FluxLike model;
  Options options = options_for(int8_block(64));
  options.custom = custom("qkv", int8_block(32));
  options.heuristic = true;
  CHECK(fate(model.plan(options), "double_blocks.0.img_attn.qkv") == "int8_blockwise (block 32): custom");
  options.custom = custom("qkv", int8_block(64));
  CHECK(fate(model.plan(options), "double_blocks.0.img_attn.qkv") ==
        "int8_tensorwise (row): custom, scales per row: out_features 96 is not a multiple of block size 64");
  options.custom->heuristic = true;
  CHECK(fate(model.plan(options), "double_blocks.0.img_attn.qkv") ==
        "keep: heuristic: not divisible by block size 64");
}

TEST_CASE("custom layers: float16 ones are casts", "[plan]") {
  const FluxLike model;
  Options options = options_for(int8_row());
  options.custom = custom("mlp", {});
  const Plan plan = model.plan(options);
  CHECK(fate(plan, "double_blocks.0.img_mlp.0") == "float16: custom");
  CHECK(plan.count(Decision::kCast) == 2);
}

TEST_CASE("full precision: a layer's own setting is in its marker and in the metadata", "[plan]") {
  const FluxLike model;
  Options options = options_for(fp8());
  options.custom = custom("mlp", fp8());
  options.save_quant_metadata = true;
  const bool whole_file = GENERATE(false, true);
  options.full_precision_matrix_mult = whole_file;
  options.custom->full_precision_matrix_mult = !whole_file;
  const Plan plan = model.plan(options);
  CHECK(plan.layout == Layout::kComfy);
  REQUIRE_FALSE(plan.notes.empty());
  CHECK(plan.notes[0].find("single layers for full-precision products") != std::string::npos);
  const auto found = markers(plan);
  CHECK(found.at("double_blocks.0.img_mlp.0").contains("full_precision_matrix_mult") == !whole_file);
  CHECK(found.at("double_blocks.0.img_attn.qkv").contains("full_precision_matrix_mult") == whole_file);
  const auto header = nlohmann::json::parse(plan.metadata.at("_quantization_metadata"));
  for (const auto& [layer, marker] : found) CHECK(header.at("layers").at(layer) == marker);
}

TEST_CASE("full precision: the legacy layout cannot hold a layer's own setting", "[plan]") {
  const FluxLike model;
  Options options = options_for(fp8());
  options.custom = custom("mlp", fp8());
  options.custom->full_precision_matrix_mult = true;
  options.layout = Layout::kLegacy;
  CHECK_THROWS_MATCHES(model.plan(options), Error,
                       HasCode(ErrorCode::kUsage, "--comfy_quant", "cannot mark single layers"));
  options.full_precision_matrix_mult = true;  // now all layers agree
  CHECK(model.plan(options).layout == Layout::kLegacy);
}

TEST_CASE("fallback: takes what patterns and presets leave out, and nothing else", "[plan]") {
  const FluxLike model;
  Options options = options_for(int8_row());
  options.fallback = fp8();
  options.exclude_layers.emplace("qkv");
  options.presets = {"flux2"};
  const Plan plan = model.plan(options);
  CHECK(fate(plan, "img_in") == "float8_e4m3fn (tensor): fallback (preset flux2: 'img_in')");
  CHECK(fate(plan, "double_blocks.5.img_attn.qkv") ==
        "float8_e4m3fn (tensor): fallback (excluded by pattern)");
  CHECK(fate(plan, "double_blocks.5.img_attn.proj") == "int8_tensorwise (row): target");
  CHECK(fate(plan, "embed_tokens") == "keep: embedding table");
  CHECK(fate(plan, "norm") == "keep: 1-D");
}

TEST_CASE("fallback: goes through the shape and value rules", "[plan]") {
  const FluxLike model;
  Options options = options_for(int8_row());
  options.fallback = int8_block(64);
  options.exclude_layers.emplace("qkv|proj|img_in");
  Plan plan = model.plan(options, {{"double_blocks.0.img_attn.proj.weight", "1 NaN"}});
  CHECK(fate(plan, "double_blocks.0.img_attn.qkv") ==
        "int8_tensorwise (row): fallback (excluded by pattern), scales per row: out_features 96 is not a "
        "multiple of block size 64");
  CHECK(fate(plan, "double_blocks.0.img_attn.proj") == "keep: 1 NaN");
  CHECK(plan.find("double_blocks.0.img_attn.proj.weight")->value_fallback);
  options.heuristic = true;
  plan = model.plan(options);
  CHECK(fate(plan, "img_in") == "keep: heuristic: a dimension smaller than block size 64");
  CHECK(fate(plan, "double_blocks.0.img_attn.proj") ==
        "int8_blockwise (block 64): fallback (excluded by pattern)");
}

TEST_CASE("layer config: an entry wins over every other rule about layers", "[plan]") {
  const FluxLike model;
  Options options = with_config(int8_row(), R"({
      "img_in": {"format": "float8_e5m2"},
      "qkv": {"format": "keep"},
      "5\\.img_mlp": {"skip": true}})");
  options.custom = custom("qkv|mlp", fp8());
  options.fallback = fp8();
  options.exclude_layers.emplace("img_in");
  options.presets = {"flux2"};
  const Plan plan = model.plan(options);
  CHECK(fate(plan, "img_in") == "float8_e5m2 (tensor): layer-config 'img_in'");
  CHECK(fate(plan, "double_blocks.0.img_attn.qkv") == "keep: layer-config 'qkv'");
  CHECK(fate(plan, "double_blocks.5.img_mlp.0") == "keep: layer-config '5\\\\.img_mlp'");
  CHECK(fate(plan, "double_blocks.0.img_mlp.0") == "float8_e4m3fn (tensor): custom");
  CHECK(fate(plan, "final_layer.linear") == "float8_e4m3fn (tensor): fallback (preset flux2: 'final_layer')");
  CHECK(plan.unused.empty());  // also of patterns whose layers an entry took
}

TEST_CASE("layer config: an entry makes no candidate of what is none", "[plan]") {
  const FluxLike model;
  const Plan plan = model.plan(with_config(int8_row(), R"({"embed|norm": {"format": "float8_e4m3fn"}})"));
  CHECK(fate(plan, "embed_tokens") == "keep: embedding table");
  CHECK(fate(plan, "norm") == "keep: 1-D");
  CHECK(plan.unused == std::vector<std::string>{"--layer-config entry 'embed|norm' matches no candidate"});
}

TEST_CASE("layer config: _default comes last and overrides no filter", "[plan]") {
  const FluxLike model;
  Options options = with_config(int8_row(), R"({"_default": {"format": "fp16"}})");
  options.custom = custom("qkv", fp8());
  options.exclude_layers.emplace("proj");
  options.presets = {"flux2"};
  Plan plan = model.plan(options);
  CHECK(fate(plan, "double_blocks.0.img_attn.qkv") == "float8_e4m3fn (tensor): custom");
  CHECK(fate(plan, "double_blocks.0.img_attn.proj") == "keep: excluded by pattern");
  CHECK(fate(plan, "final_layer.linear") == "keep: preset flux2: 'final_layer'");
  CHECK(fate(plan, "double_blocks.0.img_mlp.0") == "float16: layer-config '_default'");
  options.fallback = int8_row();
  plan = model.plan(options);
  CHECK(fate(plan, "final_layer.linear") == "int8_tensorwise (row): fallback (preset flux2: 'final_layer')");
  CHECK(plan.unused.empty());
}

TEST_CASE("layer config: _default may leave everything else alone, without a fallback", "[plan]") {
  const FluxLike model;
  Options options =
      with_config(int8_row(), R"({"mlp": {"format": "int8_axiswise"}, "_default": {"skip": true}})");
  options.fallback = fp8();
  const Plan plan = model.plan(options);
  CHECK(plan.count(Decision::kQuantize) == 2);
  CHECK(fate(plan, "img_in") == "keep: layer-config '_default'");
}

TEST_CASE("layer config: the name without .weight is what patterns see", "[plan]") {
  const FluxLike model;
  const Plan plan =
      model.plan(with_config(int8_row(), R"({"qkv$": {"skip": true}, "weight": {"skip": true}})"));
  CHECK(fate(plan, "double_blocks.0.img_attn.qkv") == "keep: layer-config 'qkv$'");
  CHECK(plan.unused == std::vector<std::string>{"--layer-config entry 'weight' matches no candidate"});
}

TEST_CASE("layer config: of several entries all that match count as used", "[plan]") {
  const FluxLike model;
  const Plan plan = model.plan(with_config(int8_row(), R"({
      "attn\\.qkv": {"format": "fp16"}, "qkv": {"format": "keep"}, "no_such_layer": {"skip": true}})"));
  CHECK(fate(plan, "double_blocks.0.img_attn.qkv") == "float16: layer-config 'attn\\\\.qkv'");
  CHECK(plan.unused == std::vector<std::string>{"--layer-config entry 'no_such_layer' matches no candidate"});
}

TEST_CASE("layer config: its layers go through the heuristic and the block fallback", "[plan]") {
  const FluxLike model;
  Options options = with_config(int8_row(), R"({"qkv": {"format": "int8_blockwise", "block_size": 64}})");
  CHECK(fate(model.plan(options), "double_blocks.0.img_attn.qkv") ==
        "int8_tensorwise (row): layer-config 'qkv', scales per row: out_features 96 is not a multiple of "
        "block size 64");
  options.block_fallback = BlockFallback::kSkip;
  CHECK(fate(model.plan(options), "double_blocks.0.img_attn.qkv") ==
        "keep: out_features 96 is not a multiple of block size 64");
  options.block_fallback = BlockFallback::kRow;
  options.heuristic = true;
  CHECK(fate(model.plan(options), "double_blocks.0.img_attn.qkv") ==
        "keep: heuristic: not divisible by block size 64");
}

TEST_CASE("layer config: label and stored tensors agree for every format", "[plan]") {
  const FluxLike model;
  for (const format::Codec& codec : format::registry()) {
    INFO(codec.label());
    std::string mode =
        codec.format == "int8_axiswise" ? "axis" : std::string(granularity_name(codec.granularity));
    mode = codec.granularity == format::Granularity::kGroup ? ""
                                                            : fmt::format(R"("scaling_mode": "{}", )", mode);
    Options options = with_config(
        {}, fmt::format(R"({{"qkv": {{"format": "{}", {}"block_size": 32}}}})", codec.format, mode));
    const Plan plan = model.plan(options);
    const TensorPlan* qkv = plan.find("double_blocks.0.img_attn.qkv.weight");
    const auto stored = format::stored_tensors(codec, 96, 64, codec.has_blocks() ? 32 : 0);
    REQUIRE(qkv->outputs.size() == stored.size());
    for (size_t i = 0; i < stored.size(); ++i) CHECK(qkv->outputs[i].shape == stored[i].shape);
    if (plan.layout == Layout::kComfy)
      CHECK(markers(plan).at("double_blocks.0.img_attn.qkv").at("format") == codec.format);
  }
}

}  // namespace
}  // namespace ctq::plan
