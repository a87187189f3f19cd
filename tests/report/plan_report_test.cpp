#include "report/plan_report.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "support/make_checkpoint.h"

namespace ctq::report {
namespace {

using ctq::test::bf16_vector;
using ctq::test::bf16_weight;
using ctq::test::f32_weight;
using ctq::test::TempDir;
using ctq::test::tensor;
using ctq::test::TestTensor;
using format::Granularity;
using nlohmann::json;
using safetensors::Dtype;

const PlanNames kNames = {
    .input = "in.safetensors", .output = "out.safetensors", .fingerprint = "0123456789abcdef"};

/// A plan with its checkpoint.
class Planned {
 public:
  Planned(const std::vector<TestTensor>& tensors, const plan::Options& options) {
    test::make_checkpoint(dir_ / "m.safetensors", tensors);
    checkpoint_.emplace(model::Checkpoint::open(dir_ / "m.safetensors"));
    plan = plan::make_plan(*checkpoint_, options, "out.safetensors");
  }
  plan::Plan plan;
  std::string table() const { return plan_table(plan, kNames, methods()); }
  std::string csv() const { return plan_csv(plan, kNames, methods()); }
  std::string page(const PlanNames& names = kNames) const { return plan_html(plan, names, methods()); }
  std::string json_text(const PlanNames& names = kNames) const { return plan_json(plan, names, methods()); }

 private:
  pipeline::LayerMethods methods() const {
    return {*checkpoint_, {.optimizer = &optimize::kAuto}, nullptr, nullptr};
  }

  TempDir dir_;
  std::optional<model::Checkpoint> checkpoint_;
};

plan::Options int8_blocks() {
  plan::Options options;
  options.target = {format::find_codec("int8_blockwise", Granularity::kBlock), 32};
  options.layout = format::Layout::kComfy;
  return options;
}

/// A layer that the blocks fit, one they do not, a table, a norm, a convolution and something to remove.
std::vector<TestTensor> model() {
  return {bf16_weight("a.weight", 64, 32),
          f32_weight("b.weight", 32, 40),
          bf16_weight("embed_tokens.weight", 8, 16),
          bf16_vector("norm.weight", 8),
          bf16_vector("a.bias", 64),
          tensor("decoder.ids", Dtype::kI64, {2}, std::string(16, 'i'))};
}

std::vector<std::string> lines_with(const std::string& text, std::string_view words) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (text.substr(begin, end - begin).find(words) != std::string::npos)
      lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

/// Words of a line, so that the width of a column does not matter.
std::string squeezed(std::string_view line) {
  std::string words;
  for (const char c : line) {
    if (c != ' ' || (!words.empty() && words.back() != ' ')) words += c;
  }
  return words;
}

const json& tensor_named(const json& plan, std::string_view name) {
  for (const json& tensor : plan.at("tensors")) {
    if (tensor.at("name") == name) return tensor;
  }
  throw std::out_of_range(std::string(name));
}

}  // namespace

TEST_CASE("plan_table: a line per weight with decision, format, scale, bytes and reason", "[report]") {
  const Planned planned(model(), int8_blocks());
  const std::string table = planned.table();
  CHECK(lines_with(table, "in.safetensors -> out.safetensors (comfy layout), nothing is written").size() ==
        1);
  REQUIRE(lines_with(table, " a.weight ").size() == 1);
  CHECK(squeezed(lines_with(table, " a.weight ")[0]) ==
        "quantize a.weight [64, 32] BF16 -> int8_blockwise (block 32) [2, 1] 4096 -> 2056 target, direct");
  CHECK(squeezed(lines_with(table, " b.weight ").at(0)) ==
        "quantize b.weight [32, 40] F32 -> int8_tensorwise (row) [32, 1] 5120 -> 1408 "
        "scales per row: in_features 40 is not a multiple of block size 32, direct");
  CHECK(squeezed(lines_with(table, "embed_tokens").at(0)) ==
        "keep embed_tokens.weight [8, 16] BF16 -> BF16 - 256 -> 256 embedding table");
}

TEST_CASE("plan_table: tensors that are no 2-D weights are one line, removed ones are named", "[report]") {
  CHECK(squeezed(lines_with(Planned(model(), int8_blocks()).table(), "not 2-D").at(0)) ==
        "keep 3 tensors that are not 2-D weights, unchanged");
  plan::Options options = int8_blocks();
  options.presets = {"t5xxl"};
  const std::string table = Planned(model(), options).table();
  CHECK(squeezed(lines_with(table, "not 2-D").at(0)) == "keep 2 tensors that are not 2-D weights, unchanged");
  REQUIRE(lines_with(table, "decoder.ids").size() == 1);
  CHECK_THAT(lines_with(table, "decoder.ids")[0], Catch::StartsWith("remove") && Catch::Contains("t5xxl"));
  CHECK(lines_with(table, "norm.weight").empty());
}

TEST_CASE("plan_table: totals by format and the exact size of the output", "[report]") {
  const Planned planned(model(), int8_blocks());
  const std::string table = planned.table();
  CHECK(squeezed(lines_with(table, "int8_blockwise (block 32) ").back()) ==
        "int8_blockwise (block 32) 1 tensors 4.00 KiB -> 2.01 KiB");
  CHECK(squeezed(lines_with(table, "kept").at(0)) == "kept 4 tensors 416 bytes -> 416 bytes");
  CHECK(lines_with(table, fmt::format("output size: {} bytes", planned.plan.bytes_out)).size() == 1);
  CHECK(lines_with(table, "in 1 file").size() == 1);
  CHECK(lines_with(table, "in 1 files").empty());
}

TEST_CASE("plan_table: shards are counted, casts named float16, a legacy layout said", "[report]") {
  plan::Options options;
  options.max_shard_bytes = 4096;
  const Planned planned(model(), options);
  REQUIRE(planned.plan.files.size() == 3);
  const std::string table = planned.table();
  CHECK(lines_with(table, "in 3 files").size() == 1);
  CHECK(lines_with(table, "(legacy layout)").size() == 1);
  CHECK(squeezed(lines_with(table, " a.weight ").at(0)) ==
        "cast a.weight [64, 32] BF16 -> float16 - 4096 -> 4096 target");
}

TEST_CASE("plan_table: a name of any content stays on one line", "[report]") {
  const Planned planned({bf16_weight("a\n'\x1b[31m.weight", 32, 32)}, int8_blocks());
  CHECK(lines_with(planned.table(), R"(a\n\'\x1b[31m.weight)").size() == 1);
}

TEST_CASE("plan_json: the fields of the whole", "[report]") {
  plan::Options options = int8_blocks();
  options.presets = {"t5xxl", "flux2"};
  const Planned planned(model(), options);
  const std::string text = planned.json_text();
  CHECK(text.back() == '\n');
  const json plan = json::parse(text);
  CHECK(plan.at("input") == "in.safetensors");
  CHECK(plan.at("output") == "out.safetensors");
  CHECK(plan.at("fingerprint") == "0123456789abcdef");
  CHECK(plan.at("layout") == "comfy");
  CHECK(plan.at("files") == json::array({{{"name", "out.safetensors"},
                                          {"tensors", planned.plan.files[0].tensors.size()},
                                          {"bytes", planned.plan.bytes_out}}}));
  CHECK(plan.at("totals") == json{{"quantize", 2},
                                  {"cast", 0},
                                  {"keep", 3},
                                  {"remove", 1},
                                  {"bytes_in", planned.plan.bytes_in},
                                  {"bytes_out", planned.plan.bytes_out}});
  CHECK(plan.at("notes") == planned.plan.notes);
  CHECK(plan.at("unused") == json::array({"preset --flux2 protects nothing in this file"}));
  CHECK(plan.at("suggested_preset") == "");
}

TEST_CASE("plan_json: the fields of each tensor", "[report]") {
  plan::Options options = int8_blocks();
  options.presets = {"t5xxl"};
  const json plan = json::parse(Planned(model(), options).json_text());
  CHECK(plan.at("tensors").size() == 6);
  CHECK(tensor_named(plan, "a.weight") == json{{"name", "a.weight"},
                                               {"shape", {64, 32}},
                                               {"dtype", "BF16"},
                                               {"decision", "quantize"},
                                               {"reason", "target"},
                                               {"format", "int8_blockwise"},
                                               {"scaling_mode", "block"},
                                               {"block_size", 32},
                                               {"optimizer", "direct"},
                                               {"stock", false},
                                               {"scale_shape", {2, 1}},
                                               {"bytes_in", 4096},
                                               {"bytes_out", 2056}});
  const json& row = tensor_named(plan, "b.weight");
  CHECK(row.at("format") == "int8_tensorwise");
  CHECK(row.at("scaling_mode") == "row");
  CHECK(row.at("stock") == true);
  CHECK_FALSE(row.contains("block_size"));
  CHECK(tensor_named(plan, "norm.weight") == json{{"name", "norm.weight"},
                                                  {"shape", {8}},
                                                  {"dtype", "BF16"},
                                                  {"decision", "keep"},
                                                  {"reason", "1-D"},
                                                  {"bytes_in", 16},
                                                  {"bytes_out", 16}});
  const json& removed = tensor_named(plan, "decoder.ids");
  CHECK(removed.at("decision") == "remove");
  CHECK(removed.at("bytes_out") == 0);
}

TEST_CASE("plan_json: a scalar scale has an empty shape, a cast the format float16", "[report]") {
  plan::Options options;
  options.target = {format::find_codec("float8_e4m3fn", Granularity::kTensor), 0};
  const json fp8 = json::parse(Planned(model(), options).json_text());
  CHECK(fp8.at("layout") == "legacy");
  CHECK(tensor_named(fp8, "a.weight").at("scale_shape") == json::array());
  const json fp16 = json::parse(Planned(model(), plan::Options()).json_text());
  CHECK(tensor_named(fp16, "a.weight").at("decision") == "cast");
  CHECK(tensor_named(fp16, "a.weight").at("format") == "float16");
  CHECK_FALSE(tensor_named(fp16, "a.weight").contains("scale_shape"));
  CHECK(fp16.at("totals").at("cast") == 5);
}

TEST_CASE("plan_json: names of any content are valid JSON", "[report]") {
  const std::string odd = "a\n\"\\\x1b\xc3\xb6.weight";
  const Planned planned({bf16_weight(odd, 32, 32)}, int8_blocks());
  const json plan =
      json::parse(planned.json_text({.input = "bad \xff name", .output = "o", .fingerprint = ""}));
  CHECK(plan.at("tensors").at(0).at("name") == odd);
}

TEST_CASE("plan_csv: one row per tensor, as RFC 4180 has it", "[report]") {
  const std::string csv = Planned(model(), int8_blocks()).csv();
  CHECK(lines_with(csv, "\r").size() == model().size() + 1);
  CHECK(lines_with(csv, "a.weight,").at(0) ==
        "a.weight,quantize,target,int8_blockwise (block 32),direct,BF16,64x32,4096,2056,\r");
  CHECK(lines_with(csv, "a.bias,").at(0).starts_with("a.bias,keep,"));
  const std::string odd = Planned({bf16_weight("a,\"b\".weight", 64, 64)}, int8_blocks()).csv();
  CHECK(lines_with(odd, "\"a,\"\"b\"\".weight\",quantize,").size() == 1);
}

TEST_CASE("plan_html: sizes by decision and block, and every tensor with format, method and reason",
          "[report]") {
  const Planned planned({bf16_weight("blocks.0.q.weight", 64, 64), bf16_weight("blocks.2.<q>.weight", 64, 64),
                         bf16_weight("blocks.10.q.weight", 64, 64), f32_weight("b.weight", 32, 40),
                         bf16_vector("blocks.0.bias", 64)},
                        int8_blocks());
  const std::string page = planned.page();
  CHECK(lines_with(page, "<tr><td>quantize</td><td>int8_blockwise (block 32)</td>").at(0).find(">3</td>") !=
        std::string::npos);
  CHECK(lines_with(page, "<tr><td>blocks 0</td>").at(0) ==
        "<tr><td>blocks 0</td><td class=\"number\">1</td><td class=\"number\">1</td><td "
        "class=\"number\">8.12 KiB</td><td class=\"number\">4.14 KiB</td></tr>");
  CHECK(page.find("<td>blocks 2</td>") < page.find("<td>blocks 10</td>"));
  CHECK(lines_with(page, "<tr><td>elsewhere</td>").size() == 1);
  const std::string row = lines_with(page, ">blocks.2.&lt;q&gt;.weight<").at(0);
  for (const char* part : {"<td>quantize</td>", "BF16 [64, 64]", "<td>int8_blockwise (block 32)</td>",
                           ">direct</td>", ">target</td>"})
    CHECK(row.find(part) != std::string::npos);
  CHECK(page.find("<q>") == std::string::npos);
  CHECK(page.find("src=") == std::string::npos);
  CHECK(page.find("href=") == std::string::npos);
}

TEST_CASE("plan_html: notes, patterns that match nothing, files and LoRAs stand there when there are any",
          "[report]") {
  Planned planned(model(), int8_blocks());
  planned.plan.notes.clear(), planned.plan.unused.clear(), planned.plan.suggested_preset.clear();
  const std::string plain = planned.page();
  for (const char* heading :
       {"<h2>Notes", "<h2>Patterns", "<h2>Files", "<h2>Changed by LoRAs", "<h2>By block"})
    CHECK(plain.find(heading) == std::string::npos);
  planned.plan.notes = {"a <note>"}, planned.plan.unused = {"--exclude-layers matches nothing"};
  planned.plan.suggested_preset = "t5xxl";
  planned.plan.files.resize(2), planned.plan.files[0].name = "out-1.safetensors";
  const std::map<std::string, std::vector<std::string>> merged{{"a.weight", {"lora_a", "lora_b"}}};
  PlanNames names = kNames;
  names.merged = &merged;
  const std::string page = planned.page(names);
  for (const char* line : {"<li>a &lt;note&gt;</li>", "<li>--exclude-layers matches nothing</li>",
                           "<tr><td>a.weight</td><td>lora_a, lora_b</td></tr>"})
    CHECK(lines_with(page, line).size() == 1);
  CHECK(lines_with(page, "look like --t5xxl").size() == 1);
  CHECK(lines_with(page, "<tr><td>out-1.safetensors</td>").size() == 1);
}

}  // namespace ctq::report
