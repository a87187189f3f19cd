// The option tables of the commands around a finished file: whole, on their pages, and documented.
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "cli/options/arguments.h"
#include "cli/options/help_pages.h"
#include "cli/options/option.h"
#include "cli/options/spelling.h"
#include "cli/options/value.h"
#include "support/temp_dir.h"

namespace ctq::cli {
namespace {

/// The section of docs/files.md about a command, or the page that is about nothing else.
std::string section_of(const std::string& command) {
  if (command == "clip-g") return test::read_file(CTQ_SOURCE_DIR "/docs/clip_g.md");
  if (command == "fp8") return test::read_file(CTQ_SOURCE_DIR "/docs/fp8.md");
  if (command == "batch") return test::read_file(CTQ_SOURCE_DIR "/docs/batch.md");
  std::string page = test::read_file(command == "completion" ? CTQ_SOURCE_DIR "/docs/cli.md"
                                                             : CTQ_SOURCE_DIR "/docs/files.md");
  const size_t at = page.find("\n## " + command + "\n");
  REQUIRE(at != std::string::npos);
  page = page.substr(at + 1);
  return page.substr(0, page.find("\n## "));
}

}  // namespace

TEST_CASE("command options: every row is on its page and in its document, and the page names no other",
          "[cli]") {
  const std::string command =
      GENERATE(as<std::string>(), "inspect", "verify", "compare", "dequantize", "edit", "migrate",
               "extract-lora", "clip-g", "fp8", "batch", "completion");
  CAPTURE(command);
  const Table& options = *command_table(command);
  const Spellings spellings(options.options);
  const std::string page = requested_page({command, "--help"}).value(), documentation = section_of(command);
  CHECK(page.starts_with("usage: convert_to_quant " + command));
  CHECK(spellings.find("--" + std::string(options.words)) != nullptr);
  for (const Option& option : options.options) {
    INFO(option.name);
    CHECK((page.find("\n  " + option.name) != std::string::npos) == !option.hidden);
    if (!option.default_text.empty()) CHECK(value_fault(option, option.default_text) == std::nullopt);
    CHECK(spellings.find(option.name)->option == &option);
    const bool documented = documentation.find("`" + option.name + "`") != std::string::npos;
    CHECK(documented == (!option.hidden && option.name != "--help"));
  }
  for (size_t at = documentation.find("\n| `--"); at != std::string::npos;
       at = documentation.find("\n| `--", at + 1)) {
    const std::string spelling = documentation.substr(at + 4, documentation.find('`', at + 4) - at - 4);
    INFO(spelling);
    CHECK(spellings.find(spelling) != nullptr);
  }
}

TEST_CASE("command options: words of compare add up", "[cli]") {
  const Table& compare = *command_table("compare");
  CHECK(Arguments::parse_command({"a", "b", "c"}, compare).list("files") == std::vector<std::string>{"a", "b", "c"});
  CHECK(Arguments::parse_command({"a", "--top-layers", "3", "b"}, compare).list("files").size() == 2);
}

}  // namespace ctq::cli
