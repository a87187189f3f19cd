#include "plan/layout_choice.h"

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "support/matchers.h"

namespace ctq::plan {
namespace {

using ctq::test::HasCode;
using format::Granularity;
using format::Layout;
using safetensors::Dtype;

/// A plan written out: no file is needed.
class MadePlan {
 public:
  void quantize(std::string name, std::string_view format, Granularity granularity, int64_t block_size = 0) {
    TensorPlan& tensor = add(std::move(name), Decision::kQuantize);
    tensor.target = {format::find_codec(format, granularity), block_size};
    REQUIRE(tensor.target.codec != nullptr);
  }
  void fp8(std::string name) { quantize(std::move(name), "float8_e4m3fn", Granularity::kTensor); }
  void int8(std::string name) { quantize(std::move(name), "int8_tensorwise", Granularity::kRow); }
  TensorPlan& add(std::string name, Decision decision) {
    safetensors::TensorInfo& info = infos_.emplace_back();
    info.name = std::move(name), info.dtype = Dtype::kBF16, info.shape = {128, 128};
    entries_.push_back({nullptr, &info});
    TensorPlan& tensor = plan.tensors.emplace_back();
    tensor.source = &entries_.back(), tensor.decision = decision;
    return tensor;
  }

  Plan plan;

 private:
  std::deque<safetensors::TensorInfo> infos_;
  std::deque<model::Checkpoint::Entry> entries_;
};

Options asked_for(std::optional<Layout> layout, bool full_precision_matrix_mult = false) {
  Options options;
  options.layout = layout;
  options.full_precision_matrix_mult = full_precision_matrix_mult;
  return options;
}

/// Markers as name -> bytes.
std::map<std::string, std::string> markers(Plan plan, const Options& options) {
  choose_layout(plan, options);
  add_markers(plan, options);
  std::map<std::string, std::string> bytes;
  for (const Generated& generated : plan.generated) {
    CHECK(bytes.emplace(generated.info.name, generated.bytes).second);
    CHECK(generated.info.dtype == (plan.layout == Layout::kComfy ? Dtype::kU8 : Dtype::kF8E4M3));
    CHECK(generated.info.shape == std::vector<int64_t>{static_cast<int64_t>(generated.bytes.size())});
  }
  return bytes;
}

using Markers = std::map<std::string, std::string>;

}  // namespace

TEST_CASE("layout: legacy by default where its readers understand the content", "[plan]") {
  MadePlan made;
  SECTION("FP8 with one scale per weight") { made.fp8("a.weight"); }
  SECTION("INT8 of any granularity") {
    made.quantize("a.weight", "int8_blockwise", Granularity::kBlock, 128);
  }
  SECTION("float16") { made.add("a.weight", Decision::kCast); }
  SECTION("nothing quantized") { made.add("a.weight", Decision::kKeep); }
  made.add("b.weight", Decision::kKeep);
  choose_layout(made.plan, asked_for(std::nullopt));
  CHECK(made.plan.layout == Layout::kLegacy);
  CHECK(made.plan.notes.empty());
  choose_layout(made.plan, asked_for(Layout::kLegacy));
  CHECK(made.plan.layout == Layout::kLegacy);
}

TEST_CASE("layout: legacy FP8 and the header's map exclude each other", "[plan]") {
  MadePlan made;
  made.fp8("a.weight");
  Options options = asked_for(std::nullopt);
  options.save_quant_metadata = true;
  choose_layout(made.plan, options);
  CHECK(made.plan.layout == Layout::kComfy);
  options.layout = Layout::kLegacy;
  CHECK_THROWS_MATCHES(choose_layout(made.plan, options), Error,
                       HasCode(ErrorCode::kUsage, "--save-quant-metadata"));
}

TEST_CASE("layout: each model of a checkpoint has its token, each text encoder too", "[plan]") {
  MadePlan made;
  made.fp8("model.diffusion_model.a.weight");
  made.fp8("text_encoders.t5xxl.transformer.b.weight");
  made.fp8("text_encoders.t5xxl.transformer.shared.weight");
  const Markers found = markers(made.plan, asked_for(Layout::kLegacy));
  CHECK(found.size() == 2);
  CHECK(found.contains("model.diffusion_model.scaled_fp8"));
  CHECK(found.contains("text_encoders.t5xxl.transformer.scaled_fp8"));
}

TEST_CASE("layout: a table of tokens has no input, and no scale of one", "[plan]") {
  MadePlan made;
  made.fp8("shared.weight");
  made.fp8("a.weight");
  Options options = asked_for(Layout::kComfy);
  options.input_scales.one_for_all = true;
  made.plan.layout = Layout::kComfy;
  add_input_scales(made.plan, options);
  REQUIRE(made.plan.generated.size() == 1);
  CHECK(made.plan.generated[0].info.name == "a.input_scale");
}

TEST_CASE("layout: the comfy layout when asked for, without a note", "[plan]") {
  MadePlan made;
  made.fp8("a.weight");
  made.int8("b.weight");
  choose_layout(made.plan, asked_for(Layout::kComfy));
  CHECK(made.plan.layout == Layout::kComfy);
  CHECK(made.plan.notes.empty());
}

TEST_CASE(
    "layout: switched on with a note where legacy readers would misread, refused where legacy was asked for",
    "[plan]") {
  MadePlan made;
  std::string why;
  SECTION("two formats") {
    made.fp8("a.weight");
    made.int8("b.weight");
    why = "mixes quantized formats";
  }
  SECTION("two granularities of one format") {
    made.quantize("a.weight", "int8_blockwise", Granularity::kBlock, 128);
    made.int8("b.weight");
    why = "mixes quantized formats";
  }
  SECTION("NVFP4") {
    made.quantize("a.weight", "nvfp4", Granularity::kGroup);
    why = "the legacy layout has no form for nvfp4";
  }
  SECTION("rotated by its format") {
    made.quantize("a.weight", "convrot_w4a4", Granularity::kRow);
    why = "the legacy layout has no form for convrot_w4a4";
  }
  SECTION("E5M2") {
    made.quantize("a.weight", "float8_e5m2", Granularity::kTensor);
    why = "float8_e4m3fn";
  }
  SECTION("FP8 with a scale per row") {
    made.quantize("a.weight", "float8_e4m3fn_rowwise", Granularity::kRow);
    why = "one FP8 scale per weight";
  }
  SECTION("FP8 with a scale per block") {
    made.quantize("a.weight", "float8_e4m3fn_blockwise", Granularity::kBlock, 64);
    why = "one FP8 scale per weight";
  }
  Plan refused = made.plan;
  choose_layout(made.plan, asked_for(std::nullopt));
  CHECK(made.plan.layout == Layout::kComfy);
  REQUIRE(made.plan.notes.size() == 1);
  CHECK_THAT(made.plan.notes[0], Catch::StartsWith("--comfy_quant switched on: ") && Catch::Contains(why));
  CHECK_THROWS_MATCHES(choose_layout(refused, asked_for(Layout::kLegacy)), Error,
                       HasCode(ErrorCode::kUsage, "--comfy_quant", why));
}

TEST_CASE("layout: tensors that are not quantized do not count as a format", "[plan]") {
  MadePlan made;
  made.fp8("a.weight");
  TensorPlan& kept = made.add("b.weight", Decision::kKeep);
  kept.target = {format::find_codec("float8_e5m2", Granularity::kTensor), 0};
  choose_layout(made.plan, asked_for(std::nullopt));
  CHECK(made.plan.layout == Layout::kLegacy);
}

TEST_CASE("markers: one per quantized layer in the comfy layout, byte for byte as the client writes it",
          "[plan]") {
  MadePlan made;
  made.fp8("a.weight");
  made.int8("b.0.weight");
  made.quantize("c.weight", "int8_blockwise", Granularity::kBlock, 64);
  made.add("d.weight", Decision::kKeep);
  made.add("e.weight", Decision::kCast);
  made.add("f.weight", Decision::kRemove);
  CHECK(markers(made.plan, asked_for(Layout::kComfy)) ==
        Markers{{"a.comfy_quant", R"({"format": "float8_e4m3fn"})"},
                {"b.0.comfy_quant", R"({"format": "int8_tensorwise"})"},
                {"c.comfy_quant", R"({"format": "int8_blockwise", "group_size": 64})"}});
  CHECK(markers(made.plan, asked_for(Layout::kComfy, /*full_precision_matrix_mult=*/true)) ==
        Markers{{"a.comfy_quant", R"({"format": "float8_e4m3fn", "full_precision_matrix_mult": true})"},
                {"b.0.comfy_quant", R"({"format": "int8_tensorwise", "full_precision_matrix_mult": true})"},
                {"c.comfy_quant",
                 R"({"format": "int8_blockwise", "full_precision_matrix_mult": true, "group_size": 64})"}});
}

TEST_CASE("markers: a legacy FP8 file has one or two zero elements", "[plan]") {
  MadePlan made;
  made.fp8("a.weight");
  made.fp8("b.weight");
  CHECK(markers(made.plan, asked_for(std::nullopt)) == Markers{{"scaled_fp8", std::string(1, '\0')}});
  CHECK(markers(made.plan, asked_for(std::nullopt, /*full_precision_matrix_mult=*/true)) ==
        Markers{{"scaled_fp8", std::string(2, '\0')}});
}

TEST_CASE("markers: scaled_fp8 stands under the prefix of the model", "[plan]") {
  struct Row {
    std::string name;
    std::string marker;
  };
  const auto row =
      GENERATE(values<Row>({{"model.diffusion_model.blk.0.weight", "model.diffusion_model.scaled_fp8"},
                            {"model.model.blk.0.weight", "model.model.scaled_fp8"},
                            {"net.blk.0.weight", "net.scaled_fp8"},
                            {"model.blk.0.weight", "scaled_fp8"},
                            {"network.blk.0.weight", "scaled_fp8"},
                            {"a.net.blk.0.weight", "scaled_fp8"}}));
  MadePlan made;
  made.fp8(row.name);
  made.add("net.kept.weight", Decision::kKeep);  // does not ask for a marker
  CHECK(markers(made.plan, asked_for(std::nullopt)) == Markers{{row.marker, std::string(1, '\0')}});
}

TEST_CASE("markers: a file with several models has a marker for each", "[plan]") {
  MadePlan made;
  made.fp8("cond_stage.a.weight");
  made.fp8("model.diffusion_model.a.weight");
  made.fp8("model.diffusion_model.b.weight");
  const std::string zero(1, '\0');
  CHECK(markers(made.plan, asked_for(std::nullopt)) ==
        Markers{{"model.diffusion_model.scaled_fp8", zero}, {"scaled_fp8", zero}});
}

TEST_CASE("markers: legacy INT8 and float16 files have none", "[plan]") {
  MadePlan made;
  SECTION("INT8") { made.int8("a.weight"); }
  SECTION("float16") { made.add("a.weight", Decision::kCast); }
  CHECK(markers(made.plan, asked_for(std::nullopt)).empty());
}

TEST_CASE("markers: a legacy INT8 file cannot ask for full precision, and says so", "[plan]") {
  MadePlan made;
  made.int8("a.weight");
  add_markers(made.plan, asked_for(std::nullopt));
  CHECK(made.plan.notes.empty());
  add_markers(made.plan, asked_for(std::nullopt, /*full_precision_matrix_mult=*/true));
  REQUIRE(made.plan.notes.size() == 1);
  CHECK_THAT(made.plan.notes[0], Catch::Contains("--full_precision_matrix_mult has no effect"));
}

}  // namespace ctq::plan
