// The table itself: complete, without doubles, and told the same way by the pages and the JSON.
#include "cli/options/option.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "cli/options/help_pages.h"
#include "cli/options/spelling.h"
#include "cli/options/value.h"
#include "families/preset.h"
#include "support/temp_dir.h"

namespace ctq::cli {
namespace {

constexpr Page kAllPages[] = {Page::kStandard, Page::kFilters, Page::kExperimental, Page::kAdvanced,
                              Page::kLearned,  Page::kModes,   Page::kLora};

/// The lines of a page that describe an option, joined with those that they go on in.
std::vector<std::string> option_lines(Page page) {
  std::vector<std::string> lines;
  const std::string text = help_page(page);
  std::string line;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    line = text.substr(at, end - at);
    if (line.starts_with("  --")) lines.push_back(line);
    CHECK(line.size() <= 80);
    if (line.starts_with("        ") && !lines.empty())
      lines.back() += " " + line.substr(line.find_first_not_of(' '));
    at = end + 1;
  }
  return lines;
}

bool describes(const std::string& line, const Option& option) {
  const size_t end = line.find_first_of(" ,[", 2);
  return line.substr(2, end - 2) == option.name;
}

const Option& option_named(const std::string& name) {
  const auto found = std::find_if(conversion_table().options.begin(), conversion_table().options.end(),
                                  [&](const Option& option) { return option.name == name; });
  REQUIRE(found != conversion_table().options.end());
  return *found;
}

}  // namespace

TEST_CASE("option table: every option stands on exactly one page, with its true default", "[cli]") {
  std::map<Page, std::vector<std::string>> lines;
  size_t printed = 0, visible = 0;
  for (const Page page : kAllPages) {
    lines[page] = option_lines(page);
    printed += lines[page].size();
  }
  for (const Option& option : conversion_table().options) {
    INFO(option.name);
    if (!option.hidden) ++visible;
    for (const Page page : kAllPages) {
      const auto hits = std::count_if(lines[page].begin(), lines[page].end(),
                                      [&](const std::string& line) { return describes(line, option); });
      CHECK(hits == (page == option.page && !option.hidden ? 1 : 0));
    }
    if (option.hidden) continue;
    const auto line = std::find_if(lines[option.page].begin(), lines[option.page].end(),
                                   [&](const std::string& text) { return describes(text, option); });
    REQUIRE(line != lines[option.page].end());
    CHECK(line->find(option.help) != std::string::npos);
    const bool silent_off = option.kind == Kind::kSwitch && option.default_text == "off";
    if (!option.default_text.empty() && !silent_off && option.default_note.empty()) {
      CHECK(line->find("(default: " + option.default_text + ")") != std::string::npos);
    }
    if (!option.default_note.empty())
      CHECK(line->find("(default: " + option.default_note + ")") != std::string::npos);
    for (const std::string& alias : option.aliases) CHECK(line->find(", " + alias) != std::string::npos);
    for (const std::string& word : option.choices) CHECK(line->find(word) != std::string::npos);
  }
  CHECK(printed == visible);
}

TEST_CASE("option table: rows are whole and agree with themselves", "[cli]") {
  for (const Option& option : conversion_table().options) {
    INFO(option.name);
    CHECK(option.name.starts_with("--"));
    CHECK_FALSE(option.help.empty());
    CHECK_FALSE(option.group.empty());
    CHECK((option.kind == Kind::kChoice) == !option.choices.empty());
    if (!option.default_text.empty()) CHECK(value_fault(option, option.default_text) == std::nullopt);
    if (option.kind == Kind::kSwitch) CHECK_FALSE(option.default_text.empty());
    if (option.optional_value) CHECK((option.kind == Kind::kChoice || option.kind == Kind::kPath));
    for (const Shortcut& shortcut : option.shortcuts)
      CHECK(value_fault(option, shortcut.value) == std::nullopt);
  }
}

TEST_CASE("option table: no spelling stands for two options", "[cli]") {
  for (const Option& option : conversion_table().options) {
    std::vector<std::string> spellings = option.aliases;
    spellings.push_back(option.name);
    for (const Shortcut& shortcut : option.shortcuts) spellings.push_back(shortcut.spelling);
    if (option.kind == Kind::kSwitch) spellings.push_back("--no-" + option.name.substr(2));
    for (const std::string& text : spellings) {
      INFO(text);
      const Spelling* spelling = conversion_spellings().find(text);
      REQUIRE(spelling != nullptr);
      CHECK(spelling->option->name == option.name);
    }
  }
}

TEST_CASE("option table: one switch per preset, under its category's heading", "[cli]") {
  for (const families::Preset* preset : families::presets()) {
    const Option& option = option_named("--" + std::string(preset->name));
    CHECK(option.kind == Kind::kSwitch);
    CHECK(option.page == Page::kFilters);
  }
  CHECK(filter_list().find("--t5xxl") != std::string::npos);
  CHECK(filter_list().find("seed remove: ") != std::string::npos);
}

TEST_CASE("help pages: titles and groups are underlined", "[cli]") {
  const std::string page = help_page(Page::kAdvanced);
  CHECK(page.starts_with("Advanced Options\n" + std::string(60, '=') + "\n"));
  CHECK(page.find("\nEarly stopping\n" + std::string(40, '-') + "\n") != std::string::npos);
  CHECK(page.find("  --early-stop-lr, -eslr X      Stop when") != std::string::npos);
  // A long list of spellings pushes the help to the next line.
  CHECK(page.find("  --early-stop-stall, -esstall N\n" + std::string(32, ' ') + "Stop after") !=
        std::string::npos);
  CHECK(help_page(Page::kStandard)
            .find("  --full_precision_matrix_mult, -fpmm\n" + std::string(32, ' ') + "Mark") !=
        std::string::npos);
}

TEST_CASE("help pages: the first page leads to the others and to the commands", "[cli]") {
  const std::string page = requested_page({"-h"}).value();
  CHECK(page.starts_with("usage: convert_to_quant"));
  for (const std::string spelling : {"-hs", "-hf", "-he", "-ha", "-hl", "-hm", "-hlr"}) {
    CHECK(page.find(spelling + " ") != std::string::npos);
  }
  for (const Command& command : commands())
    CHECK(page.find("\n  " + std::string(command.name) + " ") != std::string::npos);
}

TEST_CASE("help-json: parses and lists every option and command", "[cli]") {
  const nlohmann::json json = nlohmann::json::parse(help_json());
  REQUIRE(json.at("options").size() == conversion_table().options.size());
  REQUIRE(json.at("commands").size() == commands().size());
  for (size_t i = 0; i < conversion_table().options.size(); ++i) {
    const Option& option = conversion_table().options[i];
    const nlohmann::json& row = json.at("options").at(i);
    CHECK(row.at("name") == option.name);
    CHECK(row.at("choices") == option.choices);
    for (const char* key : {"aliases", "type", "default", "page", "group", "help"}) CHECK(row.contains(key));
  }
  const auto find = [&](const std::string& name) {
    return *std::find_if(json.at("options").begin(), json.at("options").end(),
                         [&](const nlohmann::json& row) { return row.at("name") == name; });
  };
  CHECK(find("--block_size").at("default") == 128);
  CHECK(find("--block_size").at("minimum") == 1);
  CHECK(find("--comfy_quant").at("default") == false);
  CHECK(find("--scaling_mode").at("default").is_null());
  CHECK(find("--scaling_mode").at("default_note") == "block for INT8, tensor for FP8");
  CHECK(find("--top_p").at("exclusive_minimum") == 0);
  CHECK(find("--time").at("type") == "duration");
  CHECK(find("--verbose").at("shortcuts").at("-vv") == "DEBUG");
}

TEST_CASE("docs/cli.md: names every option that is built, and only options there are", "[cli]") {
  const std::string page = test::read_file(CTQ_SOURCE_DIR "/docs/cli.md");
  for (const Option& option : conversion_table().options) {
    INFO(option.name);
    CHECK(page.find("`" + option.name + "`") != std::string::npos);
  }
  const Spellings of_calibrate(command_table("calibrate")->options);
  const Spellings of_completion(command_table("completion")->options);
  for (size_t at = page.find("`--"); at != std::string::npos; at = page.find("`--", at + 1)) {
    const std::string spelling = page.substr(at + 1, page.find_first_of("` =", at + 1) - at - 1);
    if (spelling == "--" || spelling.starts_with("--x") || spelling == "--no-x" || spelling == "--name")
      continue;
    INFO(spelling);
    CHECK((conversion_spellings().find(spelling) != nullptr || of_calibrate.find(spelling) != nullptr ||
           of_completion.find(spelling) != nullptr));
  }
}

}  // namespace ctq::cli
