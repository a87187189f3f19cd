// What can stand on the command line, seen from a shell.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/options/option.h"

namespace ctq::cli::completion {

/// A command with all options that it takes.
struct CommandWords {
  std::string_view name;
  std::string_view help;
  std::vector<const Option*> options;  ///< not hidden
  const Option* words = nullptr;       ///< what a word outside options is the value of; null: refused
};

const std::vector<CommandWords>& all_commands();

/// What stands behind an option.
enum class Behind : unsigned char {
  kNothing,
  kFile,
  kChoice,  ///< one of choices_of()
  kAny,     ///< a number, a pattern: nothing to offer
};
Behind behind(const Option& option);
std::vector<std::string> choices_of(const Option& option);

/// All ways to write it; --no-x of a switch that is on.
std::vector<std::string> spellings_of(const Option& option);

}  // namespace ctq::cli::completion
