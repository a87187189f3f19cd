#include "plan/template.h"

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "support/make_checkpoint.h"
#include "support/matchers.h"

namespace ctq::plan {
namespace {

using safetensors::Dtype;
using test::bf16_vector;
using test::bf16_weight;
using test::TempDir;

/// Names that are full of operators, sizes that do not divide, types that are cast or not, and no candidates.
model::Checkpoint make_model(const TempDir& dir) {
  test::make_checkpoint(
      dir / "m.safetensors",
      {bf16_weight("img_in.weight", 64, 32), bf16_weight("blocks.1.qkv.weight", 96, 64),
       bf16_weight("blocks.10.qkv.weight", 64, 64), bf16_weight("blocks.1.qkv.more.weight", 64, 64),
       bf16_weight("a.weight", 64, 64), bf16_weight("a+b[0](x)|{2}^$?*\\d.weight", 64, 64),
       bf16_weight("blocksX1Xqkv.weight", 64, 64), bf16_weight("層.0.重み.weight", 64, 64),
       bf16_weight("_orig_mod.q.weight", 64, 64), bf16_weight("_default.weight", 64, 64),
       bf16_weight("tiny.weight", 8, 8), bf16_weight("embed_tokens.weight", 64, 64),
       bf16_weight("decoder.0.weight", 64, 64), bf16_vector("norm.weight", 64),
       test::tensor("half.weight", Dtype::kF16, {64, 64}, std::string(8192, 'x'))});
  return model::Checkpoint::open(dir / "m.safetensors");
}

Options options_for(const Target& target) {
  Options options;
  options.target = target;
  return options;
}

/// What a plan decides, without its reasons.
std::vector<std::string> decisions(const Plan& plan) {
  std::vector<std::string> lines;
  for (const TensorPlan& tensor : plan.tensors) {
    const bool changed = tensor.decision == Decision::kQuantize || tensor.decision == Decision::kCast;
    lines.push_back(fmt::format("{} {} {}", tensor.source->name(), decision_name(tensor.decision),
                                changed ? tensor.target.label() : ""));
  }
  for (const Generated& generated : plan.generated) lines.push_back(generated.info.name + generated.bytes);
  return lines;
}

std::vector<Options> many_options() {
  std::vector<Options> all;
  for (const format::Codec& codec : format::registry())
    all.push_back(options_for({&codec, codec.has_blocks() ? 64 : 0}));
  all.push_back(options_for({}));
  for (const BlockFallback fallback : {BlockFallback::kRow, BlockFallback::kSkip}) {
    Options options = options_for({codec_of_type("int8", "block"), 32});
    options.block_fallback = fallback;
    all.push_back(options);
    options.heuristic = true;
    all.push_back(options);
    options.presets = {"flux2", "t5xxl"};
    options.exclude_layers.emplace("blocks.10");
    all.push_back(options);
    options.fallback = Target{codec_of_type("fp8", "row"), 0};
    options.custom = CustomLayers{.pattern = Pattern("重み"),
                                  .target = {codec_of_type("int8", "tensor"), 0},
                                  .heuristic = false,
                                  .full_precision_matrix_mult = true};
    all.push_back(options);
    options.full_precision_matrix_mult = true;
    options.custom->full_precision_matrix_mult = false;
    all.push_back(options);
  }
  return all;
}

TEST_CASE("template: loads as it is and repeats the plan, with the filters and without", "[plan]") {
  const TempDir dir;
  const model::Checkpoint checkpoint = make_model(dir);
  const bool full_match = GENERATE(false, true);
  for (const Options& options : many_options()) {
    const Plan plan = make_plan(checkpoint, options, "out.safetensors");
    const std::string text = template_json(plan, options);
    CAPTURE(text);

    Options again = options;
    again.layer_config = LayerConfig::parse(text, {.block_size = 999, .full_match = full_match});
    CHECK(again.layer_config->notes().empty());
    CHECK(again.layer_config->entries().size() ==
          static_cast<size_t>(std::ranges::count(plan.tensors, true, &TensorPlan::candidate)));
    const Plan repeated = make_plan(checkpoint, again, "out.safetensors");
    CHECK(decisions(repeated) == decisions(plan));
    CHECK(repeated.bytes_out == plan.bytes_out);
    CHECK(repeated.unused == plan.unused);

    if (!options.presets.empty()) continue;  // they may also remove tensors
    again.exclude_layers.reset();
    again.custom.reset();
    again.fallback.reset();
    CHECK(decisions(make_plan(checkpoint, again, "out.safetensors")) == decisions(plan));
  }
}

TEST_CASE("template: says what each layer is and why", "[plan]") {
  const TempDir dir;
  const model::Checkpoint checkpoint = make_model(dir);
  Options options = options_for({codec_of_type("int8", "block"), 64});
  options.presets = {"flux2", "t5xxl"};
  const auto file = nlohmann::json::parse(template_json(make_plan(checkpoint, options, "o"), options));
  CHECK(file.at("_default") == nlohmann::json({{"format", "int8_blockwise"}, {"block_size", 64}}));
  CHECK(file.at("^blocks\\.10\\.qkv$") ==
        nlohmann::json(
            {{"format", "int8_blockwise"}, {"block_size", 64}, {"_shape", {64, 64}}, {"_reason", "target"}}));
  CHECK(file.at("^blocks\\.1\\.qkv$").at("format") == "int8_tensorwise");
  CHECK(file.at("^img_in$").at("format") == "keep");
  CHECK(file.at("^img_in$").at("_reason") == "preset flux2: 'img_in'");
  CHECK(file.at("_exclusions") == nlohmann::json({{"decoder.0.weight", "preset t5xxl: 'decoder'"},
                                                  {"embed_tokens.weight", "embedding table"}}));
  CHECK_FALSE(file.contains("^norm$"));
}

TEST_CASE("template: tensor-wise INT8 is told from the row-wise one of the same name", "[plan]") {
  const TempDir dir;
  const model::Checkpoint checkpoint = make_model(dir);
  const auto entry = [&](std::string_view mode) {
    const Options options = options_for({codec_of_type("int8", mode), 0});
    return nlohmann::json::parse(template_json(make_plan(checkpoint, options, "o"), options)).at("^a$");
  };
  CHECK(entry("tensor").at("scaling_mode") == "tensor");
  CHECK_FALSE(entry("row").contains("scaling_mode"));
}

TEST_CASE("template: what convrot_w4a4 multiplies in comes back", "[plan]") {
  const TempDir dir;
  const model::Checkpoint checkpoint = make_model(dir);
  for (const auto type : {format::LinearDtype::kInt4, format::LinearDtype::kInt8}) {
    Options options = options_for({codec_of_format("convrot_w4a4", ""), 0});
    options.target.linear_dtype = type;
    const Plan plan = make_plan(checkpoint, options, "o");
    const std::string text = template_json(plan, options);
    CHECK((text.find("\"linear_dtype\": \"int8\"") != std::string::npos) ==
          (type == format::LinearDtype::kInt8));
    Options again = options;
    again.target.linear_dtype = format::LinearDtype::kInt4;
    again.layer_config = LayerConfig::parse(text, {});
    CHECK(decisions(make_plan(checkpoint, again, "o")) == decisions(plan));
  }
}

TEST_CASE("anchored_pattern: matches its text and no other", "[plan]") {
  for (const std::string text : {"", "a.b", "a+b[0](x)|{2}^$?*\\d", "層.重み", "a#b c-d/e", "a\\Qb"}) {
    CAPTURE(text);
    const Pattern pattern(anchored_pattern(text));
    CHECK(pattern.search(text));
    CHECK_FALSE(pattern.search(text + "x"));
    CHECK_FALSE(pattern.search("x" + text));
  }
  CHECK_FALSE(Pattern(anchored_pattern("a.b")).search("axb"));
}

}  // namespace
}  // namespace ctq::plan
