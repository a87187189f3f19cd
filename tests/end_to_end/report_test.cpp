// The reports of a conversion, from the shell.
#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "support/make_checkpoint.h"
#include "support/run_binary.h"

using namespace ctq;
using namespace ctq::test;
using nlohmann::json;

namespace {

bool is_a(const json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  if (type == "boolean") return value.is_boolean();
  return type == "null" && value.is_null();
}

/// What of the schema the value breaks: the words of JSON Schema that docs/report.schema.json uses. Members
/// that it does not name are faults too.
std::vector<std::string> faults(const json& value, const json& schema, const std::string& at) {
  std::vector<std::string> found;
  const json types = schema["type"].is_array() ? schema["type"] : json::array({schema["type"]});
  if (!std::ranges::any_of(types, [&](const json& type) { return is_a(value, type); }))
    return {at + ": type"};
  const auto add = [&](const std::vector<std::string>& more) {
    found.insert(found.end(), more.begin(), more.end());
  };
  if (schema.contains("enum") && std::ranges::count(schema["enum"], value) == 0)
    found.push_back(at + ": enum");
  if (value.is_object()) {
    for (const json& name : schema.value("required", json::array()))
      if (!value.contains(name.get<std::string>()))
        found.push_back(at + ": lacks " + name.get<std::string>());
    for (const auto& [name, member] : value.items()) {
      if (schema["properties"].contains(name)) {
        add(faults(member, schema["properties"][name], at + "." + name));
      } else {
        found.push_back(at + ": has " + name);
      }
    }
  }
  if (value.is_array())
    for (const json& item : value) add(faults(item, schema["items"], at + "[]"));
  return found;
}

}  // namespace

TEST_CASE("report: JSON as its schema has it, a row per tensor, a page without scripts", "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors",
                  {bf16_weight("blocks.0.a,\"b\".weight", 64, 64), bf16_weight("blocks.10.q.weight", 64, 64),
                   bf16_weight("blocks.2.<q>.weight", 64, 64), bf16_vector("blocks.0.bias", 64)},
                  {});
  const std::vector<std::string> how =
      GENERATE(values<std::vector<std::string>>({{"--simple"},
                                                 {"--optimizer", "original", "--num_iter", "3"},
                                                 {"--optimizer", "direct", "--time", "1h"}}));
  std::vector<std::string> words{
      "-i",          dir / "m.safetensors", "-o",       dir / "o.safetensors", "--fp8",
      "--report",    dir / "r.json",        "--report", dir / "r.csv",         "--report",
      dir / "r.html"};
  words.insert(words.end(), how.begin(), how.end());
  const Outcome outcome = run_binary(words);
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  const json report = json::parse(read_file(dir / "r.json"));
  const json schema = json::parse(read_file(CTQ_SOURCE_DIR "/docs/report.schema.json"));
  CHECK(faults(report, schema, "report") == std::vector<std::string>{});
  CHECK(report["tensors"].size() == 4);
  if (how.back() == "1h") {
    CHECK(report["time_budget"]["seconds"] == 3600);
    CHECK(report["time_budget"]["optimized"] == 3);
  } else {
    CHECK(report["time_budget"].is_null());
  }
  for (const json& tensor : report["tensors"]) {
    const json& error = tensor["error"];
    if (tensor["decision"] != "quantize") {
      CHECK(error.is_null());
      continue;
    }
    for (const char* which : {"original", "stored", "error"}) {
      const json& histogram = error["histograms"][which];
      int64_t counted = 0;
      for (const json& count : histogram["counts"]) counted += count.get<int64_t>();
      CHECK(counted == 64 * 64);
      CHECK(histogram["low"].get<double>() < histogram["high"].get<double>());
    }
    CHECK(error["histograms"]["original"] != error["histograms"]["stored"]);
    CHECK(error["histograms"]["error"]["high"].get<double>() == Approx(error["max_error"].get<double>()));
  }
  json broken = report;
  broken["tensors"][0].erase("name");
  CHECK(faults(broken, schema, "report").size() == 1);

  const std::string csv = read_file(dir / "r.csv");
  CHECK(std::ranges::count(csv, '\n') == 5);
  CHECK(csv.find("\"blocks.0.a,\"\"b\"\".weight\",quantize,") != std::string::npos);
  const std::string page = read_file(dir / "r.html");
  CHECK(page.find("&lt;q&gt;") != std::string::npos);
  CHECK(page.find("<q>") == std::string::npos);
  CHECK(page.find("<script") == std::string::npos);
  CHECK(page.find("<h2>Values of the worst layers</h2>") != std::string::npos);
  CHECK(page.find("aria-label=\"Values of blocks.2.&lt;q&gt;.weight before and after\"") !=
        std::string::npos);
  CHECK(page.find(">blocks 2<") < page.find(">blocks 10<"));
}

TEST_CASE("report: the plan of a dry run, which writes nothing else", "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors",
                  {bf16_weight("blocks.0.a.weight", 64, 64), bf16_vector("blocks.0.bias", 64)}, {});
  std::vector<std::string> words;
  SECTION("--dry-run") { words = {"-i", dir / "m.safetensors", "--fp8", "--dry-run"}; }
  SECTION("analyze") { words = {"analyze", dir / "m.safetensors", "--fp8"}; }
  std::vector<std::string> reporting = words, printing = words;
  for (const char* suffix : {"html", "json", "csv"})
    reporting.insert(reporting.end(), {"--report", dir / (std::string("p.") + suffix)});
  printing.emplace_back("--json");
  const Outcome outcome = run_binary(reporting);
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  CHECK(outcome.out == run_binary(words).out);
  CHECK(dir.entries() == std::vector<std::string>{"m.safetensors", "p.csv", "p.html", "p.json"});
  CHECK(read_file(dir / "p.json") == run_binary(printing).out);
  const std::string csv = read_file(dir / "p.csv");
  CHECK(std::ranges::count(csv, '\n') == 3);
  CHECK(csv.find("\r\nblocks.0.a.weight,quantize,target,float8_e4m3fn") != std::string::npos);
  CHECK(read_file(dir / "p.html").find("blocks.0.a.weight") != std::string::npos);
}

TEST_CASE("report: refusals", "[end_to_end]") {
  const TempDir dir;
  make_checkpoint(dir / "m.safetensors", {bf16_weight("a.weight", 64, 64)}, {});
  const auto code = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words{"-i",      dir / "m.safetensors", "-o", dir / "o.safetensors", "--fp8",
                                   "--simple"};
    words.insert(words.end(), more.begin(), more.end());
    return run_binary(words).code;
  };
  CHECK(code({"--report", dir / "r.txt"}) == 2);
  CHECK(code({"--report", dir / "m.safetensors"}) == 2);
  CHECK(code({"--report", dir / "r.html", "--dry-run", "create-template", "-o", dir / "t.json"}) == 2);
  CHECK(code({"--report", dir / "r.html"}) == 0);
}
