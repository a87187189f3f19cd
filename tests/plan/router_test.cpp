#include "plan/router.h"

#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "support/make_checkpoint.h"
#include "support/matchers.h"

namespace ctq::plan {
namespace {

using ctq::test::HasCode;
using ctq::test::TempDir;
using ctq::test::TestTensor;
using format::Granularity;
using safetensors::Dtype;

/// A tensor of zeros: rules see headers only.
TestTensor zeros(std::string name, std::vector<int64_t> shape, Dtype dtype = Dtype::kBF16) {
  const auto bytes = static_cast<size_t>(safetensors::tensor_bytes(dtype, shape).value());
  return ctq::test::tensor(std::move(name), dtype, std::move(shape), std::string(bytes, '\0'));
}

Target target(std::string_view format, Granularity granularity, int64_t block_size = 0) {
  const format::Codec* codec = format::find_codec(format, granularity);
  REQUIRE(codec != nullptr);
  return {codec, block_size};
}

Options options_for(const Target& wanted) {
  Options options;
  options.target = wanted;
  return options;
}

Options int8_row() { return options_for(target("int8_tensorwise", Granularity::kRow)); }
Options int8_blocks(int64_t block_size) {
  return options_for(target("int8_blockwise", Granularity::kBlock, block_size));
}

/// Routes the tensors of a made-up file.
class Routed {
 public:
  Routed(const std::vector<TestTensor>& tensors, Options options, ValueFindings findings = {})
      : options_(std::move(options)), findings_(std::move(findings)) {
    ctq::test::make_checkpoint(dir_ / "m.safetensors", tensors);
    checkpoint_.emplace(model::Checkpoint::open(dir_ / "m.safetensors"));
    names_ = checkpoint_->names();
    parts_.emplace(names_);
    router_.emplace(options_, findings_, names_, *parts_);
    for (const model::Checkpoint::Entry& entry : checkpoint_->entries())
      plans_.push_back(router_->route(entry));
  }

  const TensorPlan& operator[](std::string_view name) const {
    for (const TensorPlan& plan : plans_) {
      if (plan.source->name() == name) return plan;
    }
    throw std::out_of_range(std::string(name));
  }
  std::vector<std::string> unused() const { return router_->unused(); }

 private:
  TempDir dir_;
  Options options_;
  ValueFindings findings_;
  std::optional<model::Checkpoint> checkpoint_;
  std::vector<std::string> names_;
  std::optional<families::Parts> parts_;
  std::optional<Router> router_;
  std::vector<TensorPlan> plans_;
};

/// What becomes of one tensor alone in its file.
struct Fate {
  Decision decision;
  std::string reason;
  bool operator==(const Fate&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Fate& fate) {
  return out << decision_name(fate.decision) << ": " << fate.reason;
}

Fate fate(const Routed& routed, std::string_view name) {
  return {routed[name].decision, routed[name].reason};
}

Fate fate_of(const TestTensor& tensor, const Options& options, const ValueFindings& findings = {}) {
  return fate(Routed({tensor}, options, findings), tensor.info.name);
}

}  // namespace

TEST_CASE("router: a 2-D weight of any float type is quantized to the target", "[plan]") {
  const Dtype dtype = GENERATE(Dtype::kF64, Dtype::kF32, Dtype::kF16, Dtype::kBF16);
  const Options options = int8_row();
  const Routed routed({zeros("a.weight", {2, 3}, dtype)}, options);
  CHECK(fate(routed, "a.weight") == Fate{Decision::kQuantize, "target"});
  CHECK(routed["a.weight"].target.codec == options.target.codec);
  CHECK(routed["a.weight"].target.block_size == 0);
  CHECK_FALSE(routed["a.weight"].shape_fallback);
  CHECK_FALSE(routed["a.weight"].value_fallback);
}

TEST_CASE("router: each kind of tensor that is no candidate is kept, with its reason", "[plan]") {
  struct Row {
    TestTensor tensor;
    std::string reason;
  };
  const auto row = GENERATE(values<Row>({
      {zeros("a.bias", {32, 32}), "not a weight"},
      {zeros("weight", {32, 32}), "not a weight"},
      {zeros("a.weights", {32, 32}), "not a weight"},
      {zeros("a.lora_A", {32, 32}), "not a weight"},
      {zeros("a.weight", {}), "0-D"},
      {zeros("norm.weight", {1024}), "1-D"},
      {zeros("conv.weight", {8, 8, 3, 3}), "4-D"},
      {zeros("patch.weight", {8, 8, 1, 2, 2}), "5-D"},
      {zeros("a.weight", {0, 32}), "no elements"},
      {zeros("a.weight", {32, 0}), "no elements"},
      {zeros("a.weight", {32, 32}, Dtype::kI64), "element type I64"},
      {zeros("a.weight", {32, 32}, Dtype::kBool), "element type BOOL"},
      {zeros("a.weight", {1, 4096}), "a vector in 2-D shape"},
      {zeros("a.weight", {4096, 1}), "a vector in 2-D shape"},
      {zeros("a.weight", {1, 1}), "a vector in 2-D shape"},
  }));
  CAPTURE(row.tensor.info.name);
  CHECK(fate_of(row.tensor, int8_row()) == Fate{Decision::kKeep, row.reason});
  // Float16 is for everything that is floating point.
  const bool is_float = safetensors::is_float(row.tensor.info.dtype);
  CHECK(fate_of(row.tensor, Options()) ==
        (is_float ? Fate{Decision::kCast, "target"} : Fate{Decision::kKeep, row.reason}));
}

TEST_CASE("router: lookup tables are known by the last part of their layer's name", "[plan]") {
  const std::string table = GENERATE(
      as<std::string>(), "model.embed_tokens", "shared", "transformer.wte", "transformer.wpe",
      "embeddings.word_embeddings", "embeddings.position_embeddings", "embeddings.token_type_embeddings",
      "text_model.embeddings.token_embedding", "text_model.embeddings.position_embedding", "tok_embeddings",
      "encoder.block.0.layer.0.SelfAttention.relative_attention_bias", "attn.relative_position_bias");
  CHECK(fate_of(zeros(table + ".weight", {64, 64}), int8_row()) == Fate{Decision::kKeep, "embedding table"});
}

TEST_CASE("router: tables of tokens on request, whatever a preset says, those of positions never", "[plan]") {
  Options options = int8_row();
  options.quantize_embeddings = true;
  options.presets = {"t5xxl"};
  CHECK(fate_of(zeros("shared.weight", {64, 64}), options) == Fate{Decision::kQuantize, "target"});
  CHECK(fate_of(zeros("model.embed_tokens.weight", {64, 64}), options) ==
        Fate{Decision::kQuantize, "target"});
  CHECK(fate_of(zeros("embeddings.position_embedding.weight", {64, 64}), options) ==
        Fate{Decision::kKeep, "embedding table"});
  options.exclude_layers.emplace("shared");
  CHECK(fate_of(zeros("shared.weight", {64, 64}), options) == Fate{Decision::kKeep, "excluded by pattern"});
}

TEST_CASE("router: convolutions on request, as FP8 without a scale", "[plan]") {
  Options options = options_for(target("float8_e4m3fn", Granularity::kTensor));
  const TestTensor conv = zeros("blocks.0.conv.weight", {32, 24, 3, 3});
  CHECK(fate_of(conv, options) == Fate{Decision::kKeep, "4-D"});
  options.quantize_convolutions = true;
  for (const TestTensor& tensor : {conv, zeros("blocks.0.conv.weight", {32, 24, 3}),
                                   zeros("blocks.0.conv.weight", {32, 24, 1, 3, 3}, Dtype::kF32)}) {
    const Routed routed({tensor}, options);
    const TensorPlan& plan = routed["blocks.0.conv.weight"];
    CHECK(plan.decision == Decision::kCast);
    CHECK(plan.target.plain == Dtype::kF8E4M3);
    CHECK(plan.target.label() == "float8_e4m3fn without scale");
  }
  options.target = target("float8_e5m2", Granularity::kTensor);
  CHECK(Routed({conv}, options)["blocks.0.conv.weight"].target.plain == Dtype::kF8E5M2);
  for (const TestTensor& tensor : {zeros("blocks.0.norm.weight", {8}), zeros("blocks.0.conv.bias", {8, 1, 1}),
                                   zeros("blocks.0.experts.weight", {4, 64, 64}),
                                   zeros("blocks.0.conv.weight", {32, 24, 3, 3}, Dtype::kI64),
                                   zeros("first_stage_model.encoder.conv_in.weight", {32, 24, 3, 3})})
    CHECK(fate_of(tensor, options).decision == Decision::kKeep);
  CHECK_THAT(fate_of(zeros("blocks.0.conv.weight", {32, 16, 3, 3}), options).reason,
             Catch::StartsWith("a convolution of few channels"));
  options.exclude_layers.emplace("conv");
  CHECK(fate_of(conv, options) == Fate{Decision::kKeep, "excluded by pattern"});
}

TEST_CASE("router: layers that only sound like lookup tables are weights", "[plan]") {
  const std::string layer = GENERATE(as<std::string>(), "x_embedder", "time_embed.0", "text_embedding.0",
                                     "t_embedder.mlp.0", "my_shared", "shared.0", "shared_expert",
                                     "embed_tokens.proj", "model.embed_tokens2", "wte.lora_up");
  CHECK(fate_of(zeros(layer + ".weight", {64, 64}), int8_row()) == Fate{Decision::kQuantize, "target"});
}

TEST_CASE("router: a preset removes tensors of any rank and type, before all other rules", "[plan]") {
  Options options = int8_row();
  options.presets = {"t5xxl"};
  options.exclude_layers.emplace("decoder");
  for (const TestTensor& tensor :
       {zeros("decoder.0.weight", {32, 32}), zeros("decoder.norm.weight", {8}),
        zeros("decoder.ids", {2}, Dtype::kI64), zeros("decoder.embed_tokens.weight", {32, 32})}) {
    CHECK(fate_of(tensor, options) == Fate{Decision::kRemove, "preset t5xxl: 'decoder'"});
  }
  CHECK(fate_of(zeros("lm_head.weight", {32, 32}), options) ==
        Fate{Decision::kRemove, "preset t5xxl: 'lm_head'"});
}

TEST_CASE("router: what is no candidate is not asked about patterns and presets", "[plan]") {
  Options options = int8_row();
  options.presets = {"t5xxl"};
  options.exclude_layers.emplace("norm");
  const Routed routed({zeros("norm.weight", {8}), zeros("a.weight", {32, 32})}, options);
  CHECK(fate(routed, "norm.weight") == Fate{Decision::kKeep, "1-D"});
  CHECK(routed.unused().size() == 2);
}

TEST_CASE("router: the exclude pattern comes before presets, presets before the target", "[plan]") {
  Options options = int8_row();
  options.presets = {"flux2"};
  const TestTensor tensor = zeros("time_in.in_layer.weight", {32, 32});
  CHECK(fate_of(tensor, options) == Fate{Decision::kKeep, "preset flux2: 'time_in'"});
  options.exclude_layers.emplace("in_layer\\.weight$");
  CHECK(fate_of(tensor, options) == Fate{Decision::kKeep, "excluded by pattern"});
  CHECK(fate_of(zeros("double_blocks.0.weight", {32, 32}), options) == Fate{Decision::kQuantize, "target"});
}

TEST_CASE("router: rules of shape and value come after presets", "[plan]") {
  Options options = int8_blocks(64);
  options.presets = {"flux2"};
  options.heuristic = true;
  options.block_fallback = BlockFallback::kError;
  CHECK(fate_of(zeros("img_in.weight", {3, 5}), options, {{"img_in.weight", "1 NaN"}}) ==
        Fate{Decision::kKeep, "preset flux2: 'img_in'"});
}

TEST_CASE("router: a pattern that matches candidates, or only repeats a preset, is used", "[plan]") {
  Options options = int8_row();
  options.presets = {"flux2"};
  options.exclude_layers.emplace("img_in");
  CHECK(Routed({zeros("img_in.weight", {32, 32})}, options).unused().empty());
}

TEST_CASE("router: patterns and presets that match nothing are told in sentences", "[plan]") {
  Options options = int8_row();
  options.presets = {"flux2", "t5xxl"};
  options.exclude_layers.emplace("attn.*to_z");
  const std::vector<std::string> unused =
      Routed({zeros("blk.0.attn.to_q.weight", {32, 32})}, options).unused();
  CHECK_THAT(unused, Catch::UnorderedEquals(std::vector<std::string>{
                         "--exclude-layers 'attn.*to_z' matches no candidate",
                         "preset --flux2 protects nothing in this file",
                         "preset --t5xxl protects nothing in this file",
                     }));
  CHECK(Routed({zeros("a.weight", {2, 2})}, int8_row()).unused().empty());
}

TEST_CASE("router: a preset that only removes is used", "[plan]") {
  Options options = int8_row();
  options.presets = {"t5xxl"};
  CHECK(
      Routed({zeros("decoder.ids", {2}, Dtype::kI64), zeros("a.weight", {4, 4})}, options).unused().empty());
}

TEST_CASE("router: float16 casts, and leaves what is float16 already", "[plan]") {
  CHECK(fate_of(zeros("a.weight", {4, 4}, Dtype::kBF16), Options()) == Fate{Decision::kCast, "target"});
  CHECK(fate_of(zeros("a.weight", {4, 4}, Dtype::kF64), Options()) == Fate{Decision::kCast, "target"});
  CHECK(fate_of(zeros("a.weight", {4, 4}, Dtype::kF16), Options()) ==
        Fate{Decision::kKeep, "is F16 already"});
}

TEST_CASE("router: --heur leaves out what blocks suit badly", "[plan]") {
  struct Row {
    std::vector<int64_t> shape;
    Fate fate;
  };
  const auto row = GENERATE(values<Row>({
      {{64, 64}, {Decision::kQuantize, "target"}},
      {{128, 192}, {Decision::kQuantize, "target"}},
      {{63, 640}, {Decision::kKeep, "heuristic: a dimension smaller than block size 64"}},
      {{640, 32}, {Decision::kKeep, "heuristic: a dimension smaller than block size 64"}},
      {{96, 640}, {Decision::kKeep, "heuristic: not divisible by block size 64"}},
      {{640, 65}, {Decision::kKeep, "heuristic: not divisible by block size 64"}},
  }));
  CAPTURE(row.shape);
  for (const Target& blocks : {target("int8_blockwise", Granularity::kBlock, 64),
                               target("float8_e4m3fn_block3d", Granularity::kBlock3d, 64)}) {
    Options options = options_for(blocks);
    options.heuristic = true;
    options.block_fallback = BlockFallback::kError;  // --heur decides first
    CHECK(fate_of(zeros("a.weight", row.shape), options) == row.fate);
  }
}

TEST_CASE("router: --heur leaves out small layers of formats without blocks", "[plan]") {
  struct Row {
    std::vector<int64_t> shape;
    bool changed;
  };
  const auto row = GENERATE(values<Row>({
      {{16, 64}, true},
      {{64, 16}, true},
      {{15, 4096}, false},
      {{4096, 15}, false},
      {{16, 63}, false},  // 1008 elements
      {{32, 32}, true},
      {{100, 100}, true},
  }));
  CAPTURE(row.shape);
  for (Options options :
       {int8_row(), options_for(target("float8_e4m3fn", Granularity::kTensor)), Options()}) {
    options.heuristic = true;
    const Fate decided = fate_of(zeros("a.weight", row.shape), options);
    CHECK((decided.reason == "target") == row.changed);
    if (!row.changed) CHECK(decided == Fate{Decision::kKeep, "heuristic: too small"});
  }
}

TEST_CASE("router: --heur spares adapters", "[plan]") {
  Options options = int8_row();
  options.heuristic = true;
  CHECK(fate_of(zeros("a.lora_up.weight", {64, 4}), options) == Fate{Decision::kQuantize, "target"});
  CHECK(fate_of(zeros("lora_unet_a.weight", {64, 4}), options) == Fate{Decision::kQuantize, "target"});
  CHECK(fate_of(zeros("a.lora.weight", {64, 4}), options) == Fate{Decision::kKeep, "heuristic: too small"});
  Options blocks = int8_blocks(64);
  blocks.heuristic = true;
  CHECK(fate_of(zeros("a.lora_up.weight", {64, 64}), blocks) == Fate{Decision::kQuantize, "target"});
  CHECK(Routed({zeros("a.lora_up.weight", {64, 4})}, blocks)["a.lora_up.weight"].shape_fallback);
}

TEST_CASE("router: without --heur small layers are quantized", "[plan]") {
  CHECK(fate_of(zeros("a.weight", {2, 2}), int8_row()) == Fate{Decision::kQuantize, "target"});
}

TEST_CASE("router: layers that blocks do not fit get scales per row", "[plan]") {
  struct Row {
    Target target;
    std::vector<int64_t> shape;
    std::string reason;
    std::string_view format;
  };
  const auto row = GENERATE(values<Row>({
      {target("int8_blockwise", Granularity::kBlock, 128),
       {256, 200},
       "in_features 200 is not a multiple of block size 128",
       "int8_tensorwise"},
      {target("int8_blockwise", Granularity::kBlock, 128),
       {200, 256},
       "out_features 200 is not a multiple of block size 128",
       "int8_tensorwise"},
      {target("float8_e4m3fn_blockwise", Granularity::kBlock, 32),
       {48, 64},
       "out_features 48 is not a multiple of block size 32",
       "float8_e4m3fn_rowwise"},
      {target("float8_e4m3fn_block3d", Granularity::kBlock3d, 32),
       {64, 48},
       "in_features 48 is not a multiple of block size 32",
       "float8_e4m3fn_rowwise"},
  }));
  const Routed routed({zeros("a.weight", row.shape)}, options_for(row.target));
  const TensorPlan& plan = routed["a.weight"];
  CHECK(plan.decision == Decision::kQuantize);
  CHECK(plan.reason == "scales per row: " + row.reason);
  CHECK(plan.target.codec == format::find_codec(row.format, Granularity::kRow));
  CHECK(plan.target.block_size == 0);
  CHECK(plan.shape_fallback);
}

TEST_CASE("router: a width that a 4-bit format does not take gets INT8 with a scale per row", "[plan]") {
  for (const std::string format : {"convrot_w4a4", "awq_w4a16"}) {
    CAPTURE(format);
    Options options = options_for({codec_of_format(format, ""), 0});
    const std::string misfit = "in_features 100 is not a multiple of 64, as " + format + " needs it";
    const Routed routed({zeros("a.weight", {30, 100}), zeros("b.weight", {30, 192})}, options);
    CHECK(fate(routed, "a.weight") == Fate{Decision::kQuantize, "INT8 instead: " + misfit});
    CHECK(routed["a.weight"].target.codec == format::find_codec("int8_tensorwise", Granularity::kRow));
    CHECK(routed["a.weight"].target.rotation_group == 0);
    CHECK(routed["a.weight"].shape_fallback);
    CHECK(fate(routed, "b.weight") == Fate{Decision::kQuantize, "target"});
    CHECK(routed["b.weight"].target.rotation_group == (format == "convrot_w4a4" ? 64 : 0));
    options.block_fallback = BlockFallback::kSkip;
    CHECK(fate_of(zeros("a.weight", {30, 100}), options) == Fate{Decision::kKeep, misfit});
    options.block_fallback = BlockFallback::kError;
    CHECK_THROWS_MATCHES(Routed({zeros("a.weight", {30, 100})}, options), Error,
                         HasCode(ErrorCode::kFailure, "'a.weight'", misfit, "another format"));
  }
}

TEST_CASE("router: NVFP4 and MXFP8 take every shape, --heur looks at their groups", "[plan]") {
  for (const std::string_view type : {"nvfp4", "mxfp8"}) {
    Options options = options_for({codec_of_type(type, ""), 0});
    for (const auto& shape : {std::vector<int64_t>{64, 2048}, {3072, 15}, {30, 64}})
      CHECK(fate_of(zeros("a.weight", shape), options) == Fate{Decision::kQuantize, "target"});
    options.heuristic = true;
    CHECK(fate_of(zeros("a.weight", {64, 128}), options) == Fate{Decision::kQuantize, "target"});
    CHECK(fate_of(zeros("a.weight", {64, 8}), options)
              .reason.starts_with("heuristic: a dimension smaller than"));
    CHECK(fate_of(zeros("a.weight", {72, 64}), options)
              .reason.starts_with("heuristic: not divisible by block"));
  }
}

TEST_CASE("router: a block3d format does not ask for a fitting number of rows", "[plan]") {
  const Options options = options_for(target("float8_e4m3fn_block3d", Granularity::kBlock3d, 32));
  CHECK(fate_of(zeros("a.weight", {33, 64}), options) == Fate{Decision::kQuantize, "target"});
}

TEST_CASE("router: layers that blocks do not fit can be kept or refused", "[plan]") {
  Options options = int8_blocks(128);
  const std::vector<TestTensor> tensors = {zeros("a.weight", {256, 200}), zeros("b.weight", {128, 128})};
  options.block_fallback = BlockFallback::kSkip;
  {
    const Routed routed(tensors, options);
    CHECK(fate(routed, "a.weight") ==
          Fate{Decision::kKeep, "in_features 200 is not a multiple of block size 128"});
    CHECK(routed["a.weight"].shape_fallback);
    CHECK(fate(routed, "b.weight") == Fate{Decision::kQuantize, "target"});
    CHECK_FALSE(routed["b.weight"].shape_fallback);
  }
  options.block_fallback = BlockFallback::kError;
  CHECK_THROWS_MATCHES(Routed(tensors, options), Error,
                       HasCode(ErrorCode::kFailure, "'a.weight'", "200", "128", "--block-fallback"));
}

TEST_CASE("router: weights with a finding are kept for it", "[plan]") {
  const ValueFindings findings = {{"a.weight", "3 NaN and 0 infinite values"}};
  for (const Options& options : {int8_row(), int8_blocks(32), Options()}) {
    const Routed routed({zeros("a.weight", {32, 32}), zeros("b.weight", {32, 32})}, options, findings);
    CHECK(fate(routed, "a.weight") == Fate{Decision::kKeep, "3 NaN and 0 infinite values"});
    CHECK(routed["a.weight"].value_fallback);
    CHECK(routed["b.weight"].decision != Decision::kKeep);
    CHECK_FALSE(routed["b.weight"].value_fallback);
  }
}

TEST_CASE("router: a finding also holds for a layer with the fallback format", "[plan]") {
  CHECK(fate_of(zeros("a.weight", {32, 33}), int8_blocks(32), {{"a.weight", "1 NaN"}}) ==
        Fate{Decision::kKeep, "1 NaN"});
}

TEST_CASE("router: an unknown preset is kUsage", "[plan]") {
  Options options = int8_row();
  options.presets = {"flux3"};
  CHECK_THROWS_MATCHES(Routed({zeros("a.weight", {4, 4})}, options), Error,
                       HasCode(ErrorCode::kUsage, "flux3", "flux2"));
}

}  // namespace ctq::plan
