// Every command line of docs/old_command_lines.md is one.
#include <iomanip>
#include <sstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/error.h"
#include "cli/commands/fp8.h"
#include "cli/conversion/conversion.h"
#include "cli/options/arguments.h"
#include "cli/options/mode_switches.h"
#include "cli/options/option.h"
#include "support/temp_dir.h"

namespace ctq::cli {
namespace {

/// Words between blanks, quoted ones whole.
std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> std::quoted(word);) words.push_back(word);
  return words;
}

void parse(std::vector<std::string> words) {
  check_command(words);
  words = without_mode_switch(words);
  const Table* command = command_table(words.at(0));
  if (!command) {
    make_job(words);
  } else {
    const std::vector<std::string> args(words.begin() + 1, words.end());
    Arguments::parse_command(args, *command);
    if (words[0] == "fp8") make_fp8_job(args);
  }
}

}  // namespace

TEST_CASE("old command lines: every example parses", "[cli]") {
  std::istringstream page(test::read_file(CTQ_SOURCE_DIR "/docs/old_command_lines.md"));
  size_t examples = 0;
  for (std::string line; std::getline(page, line);) {
    if (!line.starts_with("convert_to_quant ")) continue;
    INFO(line);
    ++examples;
    std::vector<std::string> words = words_of(line);
    words.erase(words.begin());
    try {
      parse(words);
    } catch (const Error& error) {
      // What is read while options are looked at may be absent, options may not.
      CAPTURE(error.what());
      CHECK(error.code() == ErrorCode::kBadInput);
    }
  }
  CHECK(examples > 20);
}

}  // namespace ctq::cli
