#include "vocabulary.h"

#include <algorithm>

#include <fmt/format.h>

#include "cli/options/spelling.h"

namespace ctq::cli::completion {
namespace {

void append(std::vector<const Option*>& to, std::span<const Option> options) {
  for (const Option& option : options) {
    const bool known =
        std::ranges::any_of(to, [&](const Option* other) { return other->name == option.name; });
    if (!option.hidden && !known) to.push_back(&option);
  }
}

CommandWords words_of(const Command& command) {
  CommandWords words{.name = command.name, .help = command.help, .options = {}, .words = nullptr};
  const Table* own = command_table(command.name);
  if (own != nullptr) append(words.options, own->options);
  if (own == nullptr || command.name == "batch") append(words.options, conversion_table().options);
  const std::string outside = fmt::format("--{}", own                         ? own->words
                                                  : command.name == "analyze" ? "input"
                                                                              : "");
  const auto found =
      std::ranges::find_if(words.options, [&](const Option* option) { return option->name == outside; });
  if (found != words.options.end()) words.words = *found;
  return words;
}

}  // namespace

const std::vector<CommandWords>& all_commands() {
  static const std::vector<CommandWords> all = [] {
    std::vector<CommandWords> rows;
    for (const Command& command : commands()) {
      rows.push_back(words_of(command));
    }
    return rows;
  }();
  return all;
}

Behind behind(const Option& option) {
  switch (option.kind) {
    case Kind::kSwitch: return Behind::kNothing;
    case Kind::kPath:
    case Kind::kPathList: return option.optional_value ? Behind::kNothing : Behind::kFile;
    case Kind::kChoice:
    case Kind::kDevice: return Behind::kChoice;
    default: return Behind::kAny;
  }
}

std::vector<std::string> choices_of(const Option& option) {
  if (option.kind == Kind::kDevice) return {"auto", "cpu", "cuda"};
  return option.choices;
}

std::vector<std::string> spellings_of(const Option& option) {
  std::vector<std::string> spellings = all_spellings(option);
  if (option.kind == Kind::kSwitch && option.default_text == "on")
    spellings.push_back("--no-" + option.name.substr(2));
  return spellings;
}

}  // namespace ctq::cli::completion
