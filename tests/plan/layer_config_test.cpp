#include "plan/layer_config.h"

#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "support/matchers.h"
#include "support/temp_dir.h"

namespace ctq::plan {
namespace {

using test::HasCode;
using test::TempDir;

/// The rule of the only entry, 'a', with the given settings.
LayerRule rule_of(const std::string& settings, int64_t block_size = 128) {
  const auto config =
      LayerConfig::parse("{\"a\": " + settings + "}", {.block_size = block_size, .full_match = false});
  REQUIRE(config.entries().size() == 1);
  return config.entries()[0].rule;
}

void refuses(const std::string& text, const std::string& said, const std::string& also = "") {
  CAPTURE(text);
  CHECK_THROWS_MATCHES(LayerConfig::parse(text, {}), Error, HasCode(ErrorCode::kUsage, said, also));
}

std::string winner(const LayerConfig& config, std::string_view layer) {
  for (const LayerConfig::Entry& entry : config.entries()) {
    if (config.matches(entry, layer)) return entry.rule.name;
  }
  return config.default_rule() ? config.default_rule()->name : "";
}

TEST_CASE("layer config: the format names what becomes of a layer", "[plan]") {
  const auto label = [](const std::string& settings) {
    const LayerRule rule = rule_of(settings);
    return rule.target ? rule.target->label() : "kept";
  };
  CHECK(label(R"({"format": "int8_blockwise"})") == "int8_blockwise (block 128)");
  CHECK(label(R"({"format": "int8_blockwise", "block_size": 64})") == "int8_blockwise (block 64)");
  CHECK(label(R"({"format": "int8_tensorwise"})") == "int8_tensorwise (row)");
  CHECK(label(R"({"format": "int8_tensorwise", "scaling_mode": "tensor"})") == "int8_tensorwise (tensor)");
  CHECK(label(R"({"format": "int8_axiswise", "scaling_mode": "axis"})") == "int8_axiswise (row)");
  CHECK(label(R"({"format": "float8_e4m3fn"})") == "float8_e4m3fn (tensor)");
  CHECK(label(R"({"format": "float8_e5m2"})") == "float8_e5m2 (tensor)");
  CHECK(label(R"({"format": "float8_e4m3fn_block3d", "block_size": 32})") ==
        "float8_e4m3fn_block3d (block3d 32)");
  CHECK(label(R"({"format": "fp16"})") == "float16");
  CHECK(label(R"({"format": "keep"})") == "kept");
  CHECK(label(R"({"skip": true})") == "kept");
  CHECK(label(R"({"skip": true, "format": ""})") == "kept");
  CHECK(label(R"({"skip": true, "format": "fp16"})") == "kept");
  CHECK(label(R"({"skip": false, "format": "fp16", "simple": false})") == "float16");
}

TEST_CASE("layer config: the block size of the command line is the default", "[plan]") {
  CHECK(rule_of(R"({"format": "int8_blockwise"})", 32).target->block_size == 32);
  CHECK(rule_of(R"({"format": "int8_blockwise", "block_size": 64})", 32).target->block_size == 64);
  CHECK(rule_of(R"({"format": "int8_axiswise"})", 32).target->block_size == 0);
}

TEST_CASE("layer config: full_precision_matrix_mult is the layer's own, on or off", "[plan]") {
  CHECK_FALSE(rule_of(R"({"format": "float8_e4m3fn"})").full_precision_matrix_mult.has_value());
  CHECK(rule_of(R"({"format": "float8_e4m3fn", "full_precision_matrix_mult": true})")
            .full_precision_matrix_mult == true);
  CHECK(rule_of(R"({"format": "float8_e4m3fn", "full_precision_matrix_mult": false})")
            .full_precision_matrix_mult == false);
}

TEST_CASE("layer config: keys with an underscore are comments, at every level", "[plan]") {
  const auto config = LayerConfig::parse(
      R"({"_comment": "x", "_exclusions": [], "_": {"deep": {"er": 1}},
          "a": {"format": "fp16", "_shape": [1, 2], "_reason": null}})",
      {});
  CHECK(config.entries().size() == 1);
  CHECK_FALSE(config.default_rule().has_value());
  CHECK(LayerConfig::parse("{}", {}).entries().empty());
}

TEST_CASE("layer config: settings without effect are noted", "[plan]") {
  const auto notes = [](const std::string& settings) {
    return LayerConfig::parse("{\"a\": " + settings + "}", {}).notes();
  };
  CHECK(notes(R"({"format": "int8_blockwise", "block_size": 64})").empty());
  CHECK(notes(R"({"format": "int8_axiswise", "block_size": 64})") ==
        std::vector<std::string>{
            "--layer-config entry 'a': block_size has no effect: int8_axiswise (row) has no blocks"});
  CHECK(notes(R"({"format": "fp16", "full_precision_matrix_mult": true})").size() == 1);
}

TEST_CASE("layer config: the most specific pattern decides, then the order of the file", "[plan]") {
  const auto config = LayerConfig::parse(R"({
      "proj": {"format": "fp16"},
      "attn": {"format": "keep"},
      "attn\\.proj": {"format": "float8_e4m3fn"},
      "blocks\\.1\\.": {"skip": true},
      "_default": {"format": "int8_axiswise"}})",
                                         {});
  CHECK(winner(config, "attn_proj") == "proj");  // as many literals as "attn": the first in the file
  CHECK(winner(config, "blocks.2.attn.proj") == "attn\\.proj");
  CHECK(winner(config, "blocks.1.attn.proj") == "blocks\\.1\\.");
  CHECK(winner(config, "blocks.10.mlp") == "_default");
}

TEST_CASE("layer config: the worked example of the documentation", "[plan]") {
  const auto config = LayerConfig::parse(R"({
      "_comment": "attention output rows, small MLP tiles, first block untouched",
      "double_blocks\\.0\\.": { "skip": true },
      "attn\\.proj$": { "format": "int8_tensorwise", "scaling_mode": "tensor", "simple": true },
      "mlp\\.[02]$": { "format": "int8_blockwise", "block_size": 64 },
      "_default": { "format": "int8_tensorwise" }})",
                                         {});
  CHECK(winner(config, "double_blocks.0.img_attn.proj") == "double_blocks\\.0\\.");
  CHECK(winner(config, "double_blocks.5.img_attn.proj") == "attn\\.proj$");
  CHECK(winner(config, "double_blocks.5.img_mlp.0") == "mlp\\.[02]$");
  CHECK(winner(config, "double_blocks.5.img_attn.qkv") == "_default");
  CHECK(config.default_rule()->target->label() == "int8_tensorwise (row)");
  CHECK(config.entries()[1].rule.target->label() == "int8_tensorwise (tensor)");
  CHECK(config.entries()[2].rule.target->label() == "int8_blockwise (block 64)");
}

TEST_CASE("layer config: patterns are searched for, or match the whole name", "[plan]") {
  const std::string text = R"({"blocks\\.1": {"skip": true}})";
  const auto search = LayerConfig::parse(text, {.block_size = 128, .full_match = false});
  CHECK(winner(search, "blocks.10.attn") == "blocks\\.1");
  const auto whole = LayerConfig::parse(text, {.block_size = 128, .full_match = true});
  CHECK(winner(whole, "blocks.10.attn").empty());
  CHECK(winner(whole, "blocks.1") == "blocks\\.1");
}

TEST_CASE("layer config: text that is no JSON object", "[plan]") {
  refuses("", "not valid JSON");
  refuses("{", "not valid JSON", "line 1, column 2");
  refuses("{\"a\": {\"format\": \"fp16\"},}", "not valid JSON");
  refuses("{} {}", "not valid JSON");
  refuses(std::string("{}\0", 3), "not valid JSON", "NUL at byte 2");
  refuses("{\"\xff\": {}}", "not valid JSON");
  refuses("{\"_x\": 1e999}", "not valid JSON", "1e999");
  refuses("[]", "must be an object", "array");
  refuses("3", "must be an object", "number");
  refuses(std::string(100'000, '[') + std::string(100'000, ']'), "must be an object");
}

TEST_CASE("layer config: a key that stands twice", "[plan]") {
  refuses(R"({"a": {"format": "fp16"}, "a": {"format": "keep"}})", "entry 'a': stands twice");
  refuses(R"({"a": {"format": "fp16", "format": "keep"}})", "entry 'a': the key 'format' stands twice");
  refuses(R"({"_default": {"skip": true}, "_default": {"skip": true}})", "entry '_default': stands twice");
  CHECK_NOTHROW(LayerConfig::parse(R"({"_a": {"x": 1}, "_b": {"x": 1}, "x": {"format": "fp16"}})", {}));
}

TEST_CASE("layer config: entries that cannot be followed", "[plan]") {
  refuses(R"({"a": 1})", "entry 'a': must be an object of settings, not number");
  refuses(R"({"_default": []})", "entry '_default': must be an object");
  refuses(R"({"a": {}})", "entry 'a': 'format' is missing");
  refuses(R"({"a": {"skip": false}})", "entry 'a': 'format' is missing");
  refuses(R"({"a": {"format": ""}})", "entry 'a': 'format' is empty");
  refuses(R"({"_default": {"format": ""}})", "entry '_default': 'format' is empty");
  refuses(R"({"a": {"format": "int9"}})", "entry 'a': unknown format 'int9'", "int8_blockwise");
  refuses(R"({"a": {"format": 8}})", "entry 'a': 'format' must be text, not 8");
  refuses(R"({"a": {"format": [[8]]}})", "entry 'a': 'format' must be text, not array");
  refuses(R"({"a": {"skip": 1, "format": "fp16"}})", "entry 'a': 'skip' must be true or false");
  refuses(R"({"a": {"simple": "yes", "format": "fp16"}})", "entry 'a': 'simple' must be true or false");
  refuses(R"({"a": {"full_precision_matrix_mult": null, "format": "fp16"}})", "must be true or false");
  refuses(R"({"a": {"formt": "fp16"}})", "entry 'a': unknown key 'formt'", "did you mean 'format'?");
  refuses(R"({"a": {"format": "fp16", "zzzzzz": 1}})", "unknown key 'zzzzzz'", "the keys are format");
  refuses(R"({"a": {"skip": true, "zzzzzz": 1}})", "unknown key 'zzzzzz'");
  refuses(R"({"(": {"format": "fp16"}})", "entry '(': bad regular expression", "position 1");
}

TEST_CASE("layer config: block sizes are whole numbers of at least 1", "[plan]") {
  for (const std::string value : {"0", "-64", "64.5", "\"64\"", "true", "null", "18446744073709551615"}) {
    refuses(R"({"a": {"format": "int8_blockwise", "block_size": )" + value + "}}",
            "entry 'a': 'block_size' must be a whole number of at least 1");
  }
}

TEST_CASE("layer config: a scaling mode that contradicts the format", "[plan]") {
  for (const auto& [format, mode] : std::vector<std::pair<std::string, std::string>>{
           {"int8_axiswise", "block"},
           {"int8_axiswise", "row"},
           {"int8_tensorwise", "axis"},
           {"float8_e4m3fn_rowwise", "tensor"},
           {"float8_e4m3fn", "row"},
           {"fp16", "tensor"},
           {"keep", "tensor"},
       }) {
    refuses(R"({"a": {"format": ")" + format + R"(", "scaling_mode": ")" + mode + R"("}})",
            "scaling_mode '" + mode + "' contradicts format '" + format + "'");
  }
  refuses(R"({"a": {"format": "int8_axiswise", "scaling_mode": "diagonal"}})",
          "entry 'a': unknown scaling_mode 'diagonal'");
}

TEST_CASE("layer config: what other versions know is refused by name", "[plan]") {
  for (const std::string key : {"output_dtype"}) {
    refuses(R"({"a": {"format": "fp16", ")" + key + R"(": 1}})",
            "entry 'a': '" + key + "' is not available in this version");
  }
}

TEST_CASE("layer config: an optimizer and its iterations per entry", "[plan]") {
  const LayerConfig config = LayerConfig::parse(R"({
      "aa": {"format": "int8_tensorwise", "optimizer": "adamw", "num_iter": 50},
      "b": {"format": "int8_tensorwise", "simple": true},
      "_default": {"format": "int8_tensorwise"}})",
                                                {});
  const Target& learned = *config.entries()[0].rule.target;
  CHECK(learned.optimizer == &optimize::kAdamW);
  CHECK(learned.num_iter == 50);
  CHECK(config.entries()[1].rule.target->optimizer == &optimize::kNearest);
  CHECK_FALSE(config.default_rule()->target->optimizer);
  const auto entry = [](const std::string& settings) {
    return R"({"a": {"format": "int8_tensorwise", )" + settings + "}}";
  };
  refuses(entry(R"("optimizer": "sgd")"), "entry 'a': unknown optimizer 'sgd'");
  refuses(entry(R"("optimizer": 3)"), "'optimizer' must be text");
  refuses(entry(R"("optimizer": "direct", "simple": true)"), "contradicts optimizer 'direct'");
  refuses(entry(R"("num_iter": -1)"), "'num_iter' must be a whole number of at least 0");
  refuses(entry(R"("num_iter": 1.5)"), "'num_iter' must be a whole number of at least 0");
  CHECK(LayerConfig::parse(R"({"a": {"format": "fp16", "optimizer": "direct"}})", {}).notes().size() == 1);
}

TEST_CASE("layer config: rotated layers", "[plan]") {
  const LayerConfig config = LayerConfig::parse(R"({
      "aa": {"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 64},
      "b": {"format": "int8_tensorwise", "convrot": true},
      "_default": {"format": "int8_tensorwise", "convrot": false, "convrot_groupsize": 64}})",
                                                {});
  CHECK(config.entries()[0].rule.target->rotation_group == 64);
  CHECK(config.entries()[1].rule.target->rotation_group == 256);
  CHECK(config.default_rule()->target->rotation_group == 0);
  const auto entry = [](const std::string& settings) { return R"({"a": {)" + settings + "}}"; };
  refuses(entry(R"("format": "int8_tensorwise", "convrot_groupsize": 8)"), "must be a power of 4");
  refuses(entry(R"("format": "int8_tensorwise", "convrot": 1)"), "'convrot' must be true or false");
  refuses(entry(R"("format": "int8_blockwise", "convrot": true)"), "'convrot' goes with int8_tensorwise");
  refuses(entry(R"("format": "int8_tensorwise", "scaling_mode": "tensor", "convrot": true)"),
          "'convrot' goes with int8_tensorwise and a scale per row");
}

TEST_CASE("layer config: what convrot_w4a4 multiplies in", "[plan]") {
  const auto label = [](const std::string& settings) { return rule_of(settings).target->label(); };
  CHECK(label(R"({"format": "convrot_w4a4", "linear_dtype": "int8"})") ==
        "convrot_w4a4 (row, convrot 256, linear int8)");
  CHECK(label(R"({"format": "convrot_w4a4", "linear_dtype": "int4"})") == "convrot_w4a4 (row, convrot 256)");
  refuses(R"({"a": {"format": "convrot_w4a4", "linear_dtype": "fp8"}})", "must be int4 or int8, not fp8");
  refuses(R"({"a": {"format": "convrot_w4a4", "linear_dtype": 8}})", "'linear_dtype' must be text");
  for (const char* format : {"nvfp4", "int8_tensorwise", "fp16", "keep"})
    refuses(fmt::format(R"({{"a": {{"format": "{}", "linear_dtype": "int8"}}}})", format),
            "'linear_dtype' goes with convrot_w4a4 alone");
}

TEST_CASE("layer config: files that cannot be read", "[plan]") {
  const TempDir dir;
  CHECK_THROWS_MATCHES(LayerConfig::load(dir / "none.json", {}), Error,
                       HasCode(ErrorCode::kBadInput, "No such file"));
  CHECK_THROWS_MATCHES(LayerConfig::load(dir.path().string(), {}), Error,
                       HasCode(ErrorCode::kBadInput, "directory"));
  test::write_file(dir / "c.json", R"({"a": {"format": "fp16"}})");
  CHECK(LayerConfig::load(dir / "c.json", {}).entries().size() == 1);
  test::write_file(dir / "empty.json", "");
  CHECK_THROWS_MATCHES(LayerConfig::load(dir / "empty.json", {}), Error, HasCode(ErrorCode::kUsage));
}

}  // namespace
}  // namespace ctq::plan
