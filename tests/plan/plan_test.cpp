#include "plan/plan.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "safetensors/writer.h"
#include "support/make_checkpoint.h"
#include "support/matchers.h"

namespace ctq::plan {
namespace {

using ctq::test::bf16_vector;
using ctq::test::bf16_weight;
using ctq::test::HasCode;
using ctq::test::make_checkpoint;
using ctq::test::TempDir;
using ctq::test::tensor;
using ctq::test::TestTensor;
using format::Granularity;
using format::Layout;
using safetensors::Dtype;
using Names = std::vector<std::string>;

Target target(std::string_view format, Granularity granularity, int64_t block_size = 0) {
  const format::Codec* codec = format::find_codec(format, granularity);
  REQUIRE(codec != nullptr);
  return {codec, block_size};
}

Options options_for(const Target& wanted, std::optional<Layout> layout = Layout::kComfy) {
  Options options;
  options.target = wanted;
  options.layout = layout;
  return options;
}

Options fp8(std::optional<Layout> layout = Layout::kComfy) {
  return options_for(target("float8_e4m3fn", Granularity::kTensor), layout);
}
Options int8_row(std::optional<Layout> layout = Layout::kComfy) {
  return options_for(target("int8_tensorwise", Granularity::kRow), layout);
}

/// A file and what was opened of it.
class MadeCheckpoint {
 public:
  explicit MadeCheckpoint(const std::vector<TestTensor>& tensors,
                          const safetensors::Metadata& metadata = {}) {
    make_checkpoint(dir_ / "m.safetensors", tensors, metadata);
    checkpoint_.emplace(model::Checkpoint::open(dir_ / "m.safetensors"));
  }
  const model::Checkpoint& operator*() const { return *checkpoint_; }
  Plan plan(const Options& options, const ValueFindings& findings = {}) const {
    return make_plan(*checkpoint_, options, "out.safetensors", findings);
  }

 private:
  TempDir dir_;
  std::optional<model::Checkpoint> checkpoint_;
};

/// A layer, its bias, a lookup table and a norm.
std::vector<TestTensor> small_model() {
  return {bf16_weight("blk.0.to_q.weight", 64, 32), bf16_vector("blk.0.to_q.bias", 64),
          bf16_weight("embed_tokens.weight", 8, 32), bf16_vector("norm.weight", 32)};
}

Names output_names(const TensorPlan& plan) {
  Names names;
  for (const safetensors::TensorInfo& output : plan.outputs) names.push_back(output.name);
  return names;
}

Names names_in(const OutputFile& file) {
  Names names;
  for (const safetensors::TensorInfo& tensor : file.tensors) names.push_back(tensor.name);
  return names;
}

bool has_note(const Plan& plan, std::string_view words) {
  return std::ranges::any_of(plan.notes,
                             [&](const std::string& note) { return note.find(words) != std::string::npos; });
}

}  // namespace

TEST_CASE("plan: every tensor has its decision, found by name and counted", "[plan]") {
  const MadeCheckpoint made(small_model());
  const Plan plan = made.plan(int8_row());
  REQUIRE(plan.tensors.size() == 4);
  for (const model::Checkpoint::Entry& entry : (*made).entries()) {
    REQUIRE(plan.find(entry.name()) != nullptr);
    CHECK(plan.find(entry.name())->source == &entry);
  }
  CHECK(plan.find("none") == nullptr);
  CHECK(plan.find("blk.0.to_q.weight")->decision == Decision::kQuantize);
  CHECK(plan.count(Decision::kQuantize) == 1);
  CHECK(plan.count(Decision::kKeep) == 3);
  CHECK(plan.count(Decision::kCast) == 0);
  CHECK(plan.count(Decision::kRemove) == 0);
}

TEST_CASE("plan: the outputs of a layer are weight and scale, under the layout's names", "[plan]") {
  const MadeCheckpoint made(small_model());
  const Plan comfy = made.plan(int8_row());
  const TensorPlan& layer = *comfy.find("blk.0.to_q.weight");
  CHECK(output_names(layer) == Names{"blk.0.to_q.weight", "blk.0.to_q.weight_scale"});
  CHECK(layer.outputs[0].dtype == Dtype::kI8);
  CHECK(layer.outputs[0].shape == std::vector<int64_t>{64, 32});
  CHECK(layer.outputs[1].dtype == Dtype::kF32);
  CHECK(layer.outputs[1].shape == std::vector<int64_t>{64, 1});
  CHECK(layer.bytes_in() == 64 * 32 * 2);
  CHECK(layer.bytes_out() == 64 * 32 + 64 * 4);

  const Plan legacy = made.plan(fp8(Layout::kLegacy));
  const TensorPlan& scaled = *legacy.find("blk.0.to_q.weight");
  CHECK(output_names(scaled) == Names{"blk.0.to_q.weight", "blk.0.to_q.scale_weight"});
  CHECK(scaled.outputs[0].dtype == Dtype::kF8E4M3);
  CHECK(scaled.outputs[1].shape.empty());
}

TEST_CASE("plan: kept tensors stay as they are, cast ones become float16, removed ones have no output",
          "[plan]") {
  std::vector<TestTensor> tensors = small_model();
  tensors.push_back(tensor("decoder.ids", Dtype::kI64, {2}, std::string(16, 'x')));
  const MadeCheckpoint made(tensors);
  Options options;
  options.presets = {"t5xxl"};
  const Plan plan = made.plan(options);
  const TensorPlan& kept = *plan.find("norm.weight");
  REQUIRE(kept.outputs.size() == 1);
  CHECK(kept.outputs[0].dtype == Dtype::kBF16);
  CHECK(kept.outputs[0].shape == std::vector<int64_t>{32});
  CHECK(kept.bytes_out() == kept.bytes_in());
  const TensorPlan& cast = *plan.find("blk.0.to_q.weight");
  REQUIRE(cast.outputs.size() == 1);
  CHECK(cast.outputs[0].name == "blk.0.to_q.weight");
  CHECK(cast.outputs[0].dtype == Dtype::kF16);
  CHECK(plan.find("decoder.ids")->outputs.empty());
  CHECK(plan.find("decoder.ids")->bytes_out() == 0);
  CHECK(plan.generated.empty());
  CHECK(names_in(plan.files.at(0)) ==
        Names{"blk.0.to_q.bias", "embed_tokens.weight", "norm.weight", "blk.0.to_q.weight"});
}

TEST_CASE("plan: the file holds outputs and markers in the reference writer's order, without gaps",
          "[plan]") {
  const Plan plan = MadeCheckpoint(small_model()).plan(int8_row());
  REQUIRE(plan.files.size() == 1);
  const OutputFile& file = plan.files[0];
  CHECK(file.name == "out.safetensors");
  CHECK(names_in(file) == Names{"blk.0.to_q.weight_scale",                                // F32
                                "blk.0.to_q.bias", "embed_tokens.weight", "norm.weight",  // BF16
                                "blk.0.to_q.weight",                                      // I8
                                "blk.0.to_q.comfy_quant"});                               // U8
  uint64_t end = 0;
  for (const safetensors::TensorInfo& tensor : file.tensors) {
    CHECK(tensor.begin == end);
    end = tensor.end;
  }
}

TEST_CASE("plan: bytes_out is the size of the file that a writer makes", "[plan]") {
  const MadeCheckpoint made(small_model(), {{"title", "x"}});
  for (Options options : {int8_row(), fp8(Layout::kLegacy), Options()}) {
    options.save_quant_metadata = options.layout != Layout::kLegacy;
    const Plan plan = made.plan(options);
    const TempDir dir;
    REQUIRE(plan.files.size() == 1);
    CHECK(plan.bytes_out ==
          safetensors::Writer(dir / "out.safetensors", plan.files[0].tensors, plan.metadata).file_bytes());
    CHECK(plan.bytes_out == plan.files[0].bytes);
    const safetensors::Reader& source = *plan.tensors.front().source->file;
    CHECK(plan.bytes_in == std::filesystem::file_size(source.path()));
  }
}

TEST_CASE("plan: bytes_out is the sum of the shards", "[plan]") {
  Options options = int8_row();
  options.max_shard_bytes = 64 * 32 + 64 * 4 + 100;
  const Plan plan = MadeCheckpoint(small_model()).plan(options);
  REQUIRE(plan.files.size() > 1);
  uint64_t sum = 0;
  for (const OutputFile& file : plan.files) sum += file.bytes;
  CHECK(plan.bytes_out == sum);
  CHECK(plan.files[0].name == fmt::format("out-00001-of-0000{}.safetensors", plan.files.size()));
}

TEST_CASE("plan: metadata are kept, and the format is added where it is missing", "[plan]") {
  CHECK(MadeCheckpoint(small_model(), {{"modelspec.title", "x"}}).plan(int8_row()).metadata ==
        safetensors::Metadata{{"format", "pt"}, {"modelspec.title", "x"}});
  CHECK(MadeCheckpoint(small_model(), {{"format", "tf"}}).plan(int8_row()).metadata ==
        safetensors::Metadata{{"format", "tf"}});
}

TEST_CASE("plan: the header's map holds the marker of each quantized layer when asked for", "[plan]") {
  std::vector<TestTensor> tensors = small_model();
  tensors.push_back(bf16_weight("a.weight", 32, 32));
  Options options = fp8();
  options.save_quant_metadata = options.full_precision_matrix_mult = true;
  const Plan plan = MadeCheckpoint(tensors, {{"title", "x"}}).plan(options);
  CHECK(plan.metadata.size() == 3);
  CHECK(plan.metadata.at("_quantization_metadata") ==
        R"({"format_version": "1.0", "layers": {)"
        R"("a": {"format": "float8_e4m3fn", "full_precision_matrix_mult": true}, )"
        R"("blk.0.to_q": {"format": "float8_e4m3fn", "full_precision_matrix_mult": true}}})");
  REQUIRE(plan.generated.size() == 2);
  CHECK(plan.generated[0].info.name == "a.comfy_quant");
  CHECK(plan.generated[0].bytes == R"({"format": "float8_e4m3fn", "full_precision_matrix_mult": true})");
}

TEST_CASE("plan: a checkpoint with quantized layers is refused, the evidence named", "[plan]") {
  std::vector<TestTensor> tensors = small_model();
  tensors.push_back(tensor("blk.0.to_q.comfy_quant", Dtype::kU8, {2}, "{}"));
  const MadeCheckpoint made(tensors);
  CHECK_THROWS_MATCHES(
      made.plan(int8_row()), Error,
      HasCode(ErrorCode::kBadInput, "m.safetensors", "already quantized", "'blk.0.to_q'", "comfy_quant"));
  tensors.push_back(tensor("more.weight", Dtype::kI8, {2, 2}, "abcd"));
  Options options = int8_row();
  options.allow_empty = true;
  CHECK_THROWS_MATCHES(MadeCheckpoint(tensors).plan(options), Error,
                       HasCode(ErrorCode::kBadInput, "and 1 more"));
}

TEST_CASE("plan: nothing to quantize is kFailure, unless it is allowed", "[plan]") {
  Options options = int8_row();
  std::vector<TestTensor> tensors;
  SECTION("no tensor") {}
  SECTION("no 2-D weight") { tensors = {bf16_vector("norm.weight", 8)}; }
  SECTION("filters leave nothing") {
    tensors = small_model();
    options.exclude_layers.emplace(".");
  }
  const MadeCheckpoint made(tensors);
  CHECK_THROWS_MATCHES(made.plan(options), Error,
                       HasCode(ErrorCode::kFailure, "nothing to quantize", "--allow-empty"));
  options.allow_empty = true;
  const Plan plan = made.plan(options);
  CHECK(plan.count(Decision::kKeep) == tensors.size());
  CHECK(plan.generated.empty());
  REQUIRE(plan.files.size() == 1);
  CHECK(plan.files[0].tensors.size() == tensors.size());
}

TEST_CASE("plan: a cast is something to do", "[plan]") {
  CHECK(MadeCheckpoint({bf16_weight("a.weight", 4, 4)}).plan(Options()).count(Decision::kCast) == 1);
}

TEST_CASE("plan: a format that stock ComfyUI does not load is noted with its reader and the alternative",
          "[plan]") {
  const MadeCheckpoint made({bf16_weight("a.weight", 64, 64)});
  for (const format::Codec& codec : format::registry()) {
    CAPTURE(codec.label());
    const Plan plan = made.plan(options_for({&codec, codec.has_blocks() ? 32 : 0}));
    if (client::is_stock(codec)) {
      CHECK(plan.notes.empty());
      continue;
    }
    const client::OtherReader reader = client::other_reader(codec.format);
    REQUIRE(plan.notes.size() == 1);
    CHECK_THAT(plan.notes[0], Catch::Contains(codec.label()) && Catch::Contains(std::string(reader.name)) &&
                                  Catch::Contains(std::string(reader.instead)));
  }
}

TEST_CASE("plan: a note about each format that is used, also of a fallback", "[plan]") {
  const MadeCheckpoint made({bf16_weight("a.weight", 64, 64), bf16_weight("b.weight", 64, 40)});
  const Plan plan = made.plan(options_for(target("float8_e4m3fn_blockwise", Granularity::kBlock, 32)));
  CHECK(has_note(plan, "float8_e4m3fn_blockwise (block) is not loaded"));
  CHECK(has_note(plan, "float8_e4m3fn_rowwise (row) is not loaded"));
}

TEST_CASE("plan: legacy files are noted as what they are", "[plan]") {
  const MadeCheckpoint made(small_model());
  CHECK(has_note(made.plan(int8_row(std::nullopt)), "no mark for INT8"));
  CHECK(has_note(made.plan(fp8(std::nullopt)), "legacy scaled_fp8 layout"));
  CHECK(made.plan(Options()).notes.empty());
}

TEST_CASE("plan: the legacy FP8 file holds its marker", "[plan]") {
  const Plan plan = MadeCheckpoint(small_model()).plan(fp8(std::nullopt));
  CHECK(plan.layout == Layout::kLegacy);
  const Names names = names_in(plan.files.at(0));
  CHECK(std::ranges::count(names, "scaled_fp8") == 1);
  CHECK(std::ranges::count(names, "blk.0.to_q.scale_weight") == 1);
}

TEST_CASE("plan: a block size that divides some layers only switches the comfy layout on", "[plan]") {
  const MadeCheckpoint made({bf16_weight("a.weight", 64, 64), bf16_weight("b.weight", 64, 40)});
  const Plan plan = made.plan(options_for(target("int8_blockwise", Granularity::kBlock, 32), std::nullopt));
  CHECK(plan.layout == Layout::kComfy);
  CHECK(has_note(plan, "--comfy_quant switched on"));
  CHECK(output_names(*plan.find("b.weight")) == Names{"b.weight", "b.weight_scale"});
}

TEST_CASE("plan: the preset of a model that is recognised is suggested until it is given", "[plan]") {
  const MadeCheckpoint made({bf16_weight("double_stream_modulation_img.lin.weight", 4, 4),
                             bf16_weight("double_blocks.0.img_attn.qkv.weight", 4, 4),
                             bf16_weight("single_blocks.0.linear1.weight", 4, 4)});
  Options options = int8_row();
  CHECK(made.plan(options).suggested_preset == "flux2");
  options.presets = {"radiance"};
  CHECK(made.plan(options).suggested_preset == "flux2");
  options.presets = {"flux2"};
  CHECK(made.plan(options).suggested_preset == "");
  CHECK(MadeCheckpoint(small_model()).plan(int8_row()).suggested_preset == "");

  options.presets = {};
  options.by_family = true;
  const Plan used = made.plan(options);
  CHECK(used.suggested_preset == "");
  CHECK(has_note(used, "those of --flux2, which is used"));
  CHECK(used.find("double_stream_modulation_img.lin.weight")->decision == Decision::kKeep);
  CHECK(used.find("single_blocks.0.linear1.weight")->decision == Decision::kQuantize);
  CHECK_FALSE(has_note(MadeCheckpoint(small_model()).plan(options), "which is used"));
}

TEST_CASE("plan: patterns that match nothing are told", "[plan]") {
  const MadeCheckpoint made(small_model());
  Options options = int8_row();
  CHECK(made.plan(options).unused.empty());
  options.exclude_layers.emplace("nowhere");
  CHECK(made.plan(options).unused == Names{"--exclude-layers 'nowhere' matches no candidate"});
}

TEST_CASE("plan: a weight with a finding is kept, with neither scale nor marker", "[plan]") {
  const MadeCheckpoint made({bf16_weight("a.weight", 8, 8), bf16_weight("b.weight", 8, 8)});
  const Plan plan = made.plan(int8_row(), {{"a.weight", "1 NaN and 0 infinite values"}});
  CHECK(plan.find("a.weight")->value_fallback);
  CHECK(names_in(plan.files.at(0)) == Names{"b.weight_scale", "a.weight", "b.weight", "b.comfy_quant"});
}

TEST_CASE("plan: a shard bound below the largest layer is kUsage", "[plan]") {
  Options options = int8_row();
  options.max_shard_bytes = 1000;
  CHECK_THROWS_MATCHES(MadeCheckpoint(small_model()).plan(options), Error,
                       HasCode(ErrorCode::kUsage, "'blk.0.to_q.weight'"));
}

TEST_CASE("input scales: the largest input over the format's largest code, where a reader looks for one",
          "[plan]") {
  InputScales known;
  known.magnitudes["a"] = 2688;
  known.scales["b"] = 0.5;
  known.one_for_all = true;
  const auto of = [&](std::string_view layer, std::string_view format) {
    return known.of(layer, *codec_of_format(format, ""));
  };
  CHECK(of("a", "nvfp4") == 1.0);  // 6 * 448
  CHECK(of("a", "float8_e4m3fn") == 6.0);
  CHECK(of("b", "nvfp4") == 0.5);
  CHECK(of("c", "nvfp4") == 1.0);
  for (const std::string_view format : {"mxfp8", "convrot_w4a4", "asym_w4a8_int8", "awq_w4a16"}) {
    for (const std::string_view layer : {"a", "b", "c"}) CHECK_FALSE(of(layer, format));
  }
}

TEST_CASE("plan: factors of a layer's input are the last of its tensors, BF16", "[plan]") {
  const MadeCheckpoint made({bf16_weight("blocks.0.a.weight", 64, 32),
                             bf16_weight("blocks.0.b.weight", 64, 32),
                             bf16_weight("blocks.0.c.weight", 64, 32)});
  Options options = options_for(target("nvfp4", Granularity::kGroup));
  const Plan without = made.plan(options);
  options.input_factors = {"blocks.0.a", "blocks.0.c"};
  const Plan plan = made.plan(options, {{"blocks.0.c.weight", "1 NaN and 0 infinite values"}});
  const TensorPlan& a = *plan.find("blocks.0.a.weight");
  REQUIRE(a.scales_input);
  CHECK(a.outputs.back().name == "blocks.0.a.pre_quant_scale");
  CHECK(a.outputs.back().dtype == Dtype::kBF16);
  CHECK(a.outputs.back().shape == std::vector<int64_t>{32});
  CHECK(a.bytes_out() == without.find("blocks.0.a.weight")->bytes_out() + 64);
  for (const char* name : {"blocks.0.b.weight", "blocks.0.c.weight"}) {
    CHECK_FALSE(plan.find(name)->scales_input);
    CHECK_FALSE(plan.find(name)->outputs.back().name.ends_with("pre_quant_scale"));
  }
}

TEST_CASE("target: labels for people", "[plan]") {
  CHECK(target("nvfp4", Granularity::kGroup).label() == "nvfp4 (group)");
  CHECK(Target().label() == "float16");
  CHECK(target("int8_tensorwise", Granularity::kRow).label() == "int8_tensorwise (row)");
  CHECK(target("int8_blockwise", Granularity::kBlock, 128).label() == "int8_blockwise (block 128)");
}

/// A layer of GPT-OSS with a bank of 4 experts.
std::vector<TestTensor> small_bank() {
  return {bf16_vector("layers.0.self_attn.sinks", 2), bf16_weight("layers.0.self_attn.q_proj.weight", 64, 32),
          tensor("layers.0.mlp.experts.gate_up_proj.weight", Dtype::kBF16, {4, 40, 32},
                 std::string(size_t{4} * 40 * 32 * 2, 1)),
          tensor("conv.weight", Dtype::kBF16, {4, 40, 32}, std::string(size_t{4} * 40 * 32 * 2, 1))};
}

TEST_CASE("plan: a bank of experts has every tensor of its format with the experts in front", "[plan]") {
  const MadeCheckpoint made(small_bank());
  const auto outputs = [&](const Options& options) {
    const Plan plan = made.plan(options);
    CHECK(plan.find("conv.weight")->reason == "3-D");
    std::map<std::string, std::vector<int64_t>> shapes;
    for (const safetensors::TensorInfo& output :
         plan.find("layers.0.mlp.experts.gate_up_proj.weight")->outputs)
      shapes[output.name.substr(output.name.rfind('.') + 1)] = output.shape;
    return shapes;
  };
  using Shapes = std::map<std::string, std::vector<int64_t>>;
  CHECK(outputs(fp8()) == Shapes{{"weight", {4, 40, 32}}, {"weight_scale", {4}}});
  CHECK(outputs(int8_row()) == Shapes{{"weight", {4, 40, 32}}, {"weight_scale", {4, 40, 1}}});
  CHECK(outputs(options_for(target("nvfp4", Granularity::kGroup))) ==
        Shapes{{"weight", {4, 48, 16}}, {"weight_scale", {4, 128, 4}}, {"weight_scale_2", {4}}});
  CHECK(outputs(options_for(target("mxfp8", Granularity::kGroup))) ==
        Shapes{{"weight", {4, 64, 32}}, {"weight_scale", {4, 128, 4}}});
  CHECK(outputs(options_for(target("asym_w4a8_int8", Granularity::kGroup))) ==
        Shapes{{"weight", {4, 40, 32}}});
  Options excluding = fp8();
  excluding.exclude_layers.emplace("experts");
  CHECK(outputs(excluding) == Shapes{{"weight", {4, 40, 32}}});
}

TEST_CASE("plan: a bank gets no input scale, and switches the legacy layout off", "[plan]") {
  const MadeCheckpoint made(small_bank());
  Options options = fp8(std::nullopt);
  options.input_scales.one_for_all = true;
  const Plan plan = made.plan(options);
  CHECK(plan.layout == Layout::kComfy);
  CHECK(has_note(plan, "banks of experts"));
  const Names names = names_in(plan.files.at(0));
  CHECK(std::ranges::count(names, "layers.0.self_attn.q_proj.input_scale") == 1);
  CHECK(std::ranges::count(names, "layers.0.mlp.experts.gate_up_proj.input_scale") == 0);

  const Plan legacy = made.plan(fp8(Layout::kLegacy));
  CHECK(legacy.find("layers.0.mlp.experts.gate_up_proj.weight")->decision == Decision::kKeep);
  CHECK(legacy.find("layers.0.self_attn.q_proj.weight")->decision == Decision::kQuantize);
}

TEST_CASE("decision_name: one word each", "[plan]") {
  CHECK(decision_name(Decision::kQuantize) == "quantize");
  CHECK(decision_name(Decision::kCast) == "cast");
  CHECK(decision_name(Decision::kKeep) == "keep");
  CHECK(decision_name(Decision::kRemove) == "remove");
}

}  // namespace ctq::plan
