// The option table of `calibrate`, and what parsing by such a table does differently.
#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/options/arguments.h"
#include "cli/options/help_pages.h"
#include "cli/options/option.h"
#include "cli/options/spelling.h"
#include "cli/options/value.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace ctq::cli {
namespace {

using test::HasCode;

Arguments parse(const std::vector<std::string>& args) {
  return Arguments::parse_command(args, *command_table("calibrate"));
}

void refuses(const std::vector<std::string>& args, const std::string& said) {
  CHECK_THROWS_MATCHES(parse(args), Error, HasCode(ErrorCode::kUsage, said));
}

}  // namespace

TEST_CASE("calibrate options: the model may be a word", "[cli]") {
  CHECK(parse({"m", "-o", "x"}).text("input") == "m");
  CHECK(parse({"-o", "x", "m"}).text("input") == "m");
  CHECK(parse({"-i", "m"}).text("input") == "m");
  CHECK(parse({"--", "-m"}).text("input") == "-m");
  refuses({"m", "n"}, "unexpected word 'n'; --input is given already");
  refuses({"-i", "m", "n"}, "unexpected word 'n'");
  refuses({"-"}, "argument --input: not a path");
  refuses({""}, "argument --input: the value is empty");
}

TEST_CASE("calibrate options: --json takes a value only with '='", "[cli]") {
  const Arguments bare = parse({"--json", "m"});
  CHECK(bare.given("json"));
  CHECK(bare.text("json").empty());
  CHECK(bare.text("input") == "m");
  CHECK(parse({"--json=x.json"}).text("json") == "x.json");
  CHECK_FALSE(parse({"m"}).given("json"));
  refuses({"--json="}, "argument --json: the value is empty");
}

TEST_CASE("calibrate options: defaults, aliases and bounds", "[cli]") {
  const Arguments none = parse({});
  CHECK(none.integer("samples") == 64);
  CHECK(none.integer("seed") == 42);
  CHECK(none.number("percentile") == 99.9);
  CHECK(parse({"--thin", "7"}).integer("rows") == 7);
  CHECK(parse({"--merge", "a", "b", "-q"}).list("merge") == std::vector<std::string>{"a", "b"});
  CHECK(parse({"-q"}).flag("quiet"));
  refuses({"--samples", "0"}, "argument --samples: must be at least 1");
  refuses({"--seed", "-1"}, "argument --seed: must be at least 0");
  refuses({"--percentile", "0"}, "argument --percentile: must be greater than 0 and at most 100 (got '0')");
  refuses({"--percentile", "100.5"}, "argument --percentile");
  refuses({"--rows", "0"}, "argument --rows: must be at least 1");
  refuses({"--scaling_mode", "row"}, "argument --scaling_mode: unknown option");
  refuses({"--sampels", "3"}, "did you mean --samples?");
  refuses({"--merge"}, "argument --merge: a value is missing");
}

TEST_CASE("calibrate options: rows are whole, and on the page and in the JSON", "[cli]") {
  const Table& command = *command_table("calibrate");
  const Spellings spellings(command.options);
  const std::string page = requested_page({"calibrate", "--help"}).value();
  CHECK(page.starts_with("usage: convert_to_quant calibrate"));
  CHECK(requested_page({"calibrate", "-o", "x", "-h"}) == page);
  CHECK(requested_page({"calibrate", "--version"}) == version_text());
  CHECK_FALSE(requested_page({"calibrate", "-hf"}));
  const nlohmann::json json = nlohmann::json::parse(help_json());
  const auto row = std::ranges::find_if(
      json.at("commands"), [](const nlohmann::json& entry) { return entry.at("name") == "calibrate"; });
  std::string documentation = test::read_file(CTQ_SOURCE_DIR "/docs/cli.md");
  documentation = documentation.substr(documentation.find("\n## calibrate\n"));
  documentation = documentation.substr(0, documentation.find("\n## ", 1));
  REQUIRE(row->at("options").size() == command.options.size());
  for (const Option& option : command.options) {
    INFO(option.name);
    CHECK_FALSE(option.help.empty());
    CHECK(page.find("\n  " + option.name) != std::string::npos);
    CHECK(test::words_of(page).find(option.help) != std::string::npos);
    if (!option.default_text.empty()) CHECK(value_fault(option, option.default_text) == std::nullopt);
    for (const std::string& alias : option.aliases) CHECK(spellings.find(alias)->option == &option);
    CHECK(spellings.find(option.name)->option == &option);
    if (option.name != "--help") CHECK(documentation.find("`" + option.name + "`") != std::string::npos);
  }
  CHECK(command_table("convert") == nullptr);
  CHECK(command_table("gui") == nullptr);
}

}  // namespace ctq::cli
