#include <fmt/format.h>
#include <fmt/ranges.h>

#include "scripts.h"
#include "vocabulary.h"

namespace ctq::cli::completion {
namespace {

std::string fish_word(std::string_view text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  return result + "'";
}

/// "-l format", "-s i", "-o fpmm".
std::string spelling_flag(const std::string& spelling) {
  if (spelling.starts_with("--")) return "-l " + spelling.substr(2);
  return (spelling.size() == 2 ? "-s " : "-o ") + spelling.substr(1);
}

/// Flags that say what stands behind it.
std::string value_flags(const Option& option) {
  switch (behind(option)) {
    case Behind::kNothing: return " -f";
    case Behind::kFile: return " -r -F";
    case Behind::kChoice:
      return fmt::format(" -x -a {}", fish_word(fmt::format("{}", fmt::join(choices_of(option), " "))));
    case Behind::kAny: return " -x";
  }
  return "";
}

std::string command_lines(const CommandWords& command) {
  const std::string start =
      fmt::format("complete -c convert_to_quant -n '__convert_to_quant_command {}'", command.name);
  std::string text;
  for (const Option* option : command.options) {
    std::string spellings;
    for (const std::string& spelling : spellings_of(*option)) spellings += " " + spelling_flag(spelling);
    text += fmt::format("{}{}{} -d {}\n", start, spellings, value_flags(*option), fish_word(option->help));
  }
  if (command.words == nullptr) return text + start + " -f\n";
  if (behind(*command.words) == Behind::kChoice)
    text += fmt::format("{} -f -a {}\n", start,
                        fish_word(fmt::format("{}", fmt::join(choices_of(*command.words), " "))));
  return text;
}

}  // namespace

std::string fish_script() {
  std::vector<std::string_view> names;
  for (const CommandWords& command : all_commands()) names.push_back(command.name);
  std::string text =
      fmt::format(R"(# fish completion for convert_to_quant; printed by `convert_to_quant completion fish`
function __convert_to_quant_command
    set -l words (commandline -opc)
    set -l command convert
    if set -q words[2]; and contains -- $words[2] {}
        set command $words[2]
    end
    test $command = $argv[1]
end
)",
                  fmt::join(names, " "));
  for (const CommandWords& command : all_commands()) {
    text += fmt::format("complete -c convert_to_quant -n '__fish_is_first_token' -f -a {} -d {}\n",
                        command.name, fish_word(command.help));
  }
  for (const CommandWords& command : all_commands()) text += command_lines(command);
  return text;
}

}  // namespace ctq::cli::completion
