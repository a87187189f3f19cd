// Reads the command line by the option table. A parser of our own, because the first fault from left to right
// must be the one reported, in one fixed form, and CLI11 checks by option rather than by position and takes
// "--output --int8" as a value.
#include "ctq/cli/arguments.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include <fmt/format.h>

#include "config_file.h"
#include "ctq/base/error.h"
#include "ctq/base/text.h"
#include "ctq/cli/option_table.h"
#include "environment.h"
#include "profiles.h"
#include "recipe_file.h"
#include "spelling.h"
#include "value.h"

namespace ctq::cli {
namespace {

[[noreturn]] void refuse(std::string_view option, std::string_view fault) {
  fail(ErrorCode::kUsage, "argument {}: {}", option, fault);
}
[[noreturn]] void refuse(std::string_view option, std::string_view fault, std::string_view value) {
  fail(ErrorCode::kUsage, "argument {}: {} (got '{}')", option, fault, printable(value));
}

/// One word of the command line: an option with or without "=value".
struct Word {
  std::string_view name;
  std::optional<std::string_view> attached;

  explicit Word(std::string_view text) : name(text.substr(0, text.find('='))) {
    if (name.size() < text.size()) attached = text.substr(name.size() + 1);
  }
};

void check_value(const Spelling& spelling, std::string_view value) {
  if (const auto fault = value_fault(*spelling.option, value)) refuse(spelling.text, *fault, value);
}

const Spelling& known_option(const Spellings& spellings, std::string_view name) {
  const Spelling* spelling = spellings.find(name);
  if (spelling == nullptr) {
    const std::string_view near = spellings.nearest(name);
    refuse(printable(name),
           near.empty() ? "unknown option" : fmt::format("unknown option; did you mean {}?", near));
  }
  if (!spelling->option->available) refuse(spelling->text, "not available in this version");
  return *spelling;
}

std::string switch_word(const Spelling& spelling, std::optional<std::string_view> attached) {
  bool on = true;
  if (attached) {
    check_value(spelling, *attached);
    on = *parse_switch(*attached);
  }
  return on != spelling.negated ? "true" : "false";
}

/// The words behind an option: takes what belongs to it from args and moves `at` behind it.
std::vector<std::string> value_words(const Spelling& spelling, std::optional<std::string_view> attached,
                                     const std::vector<std::string>& args, size_t& at) {
  const Option& option = *spelling.option;
  auto next_is_value = [&] { return at < args.size() && !looks_like_option(args[at]); };
  std::vector<std::string> words;
  if (attached) {
    words.emplace_back(*attached);
  } else if (option.optional_value && option.choices.empty()) {
    // The next word is a word of the command: only "=value" can be told from it.
  } else if (next_is_value()) {
    words.push_back(args[at++]);
    while (option.kind == Kind::kPathList && next_is_value()) words.push_back(args[at++]);
  } else if (option.optional_value) {
    words.push_back(option.choices.front());
  } else if (at < args.size()) {
    refuse(spelling.text, "a value is missing", args[at]);
  } else {
    refuse(spelling.text, "a value is missing");
  }
  for (const std::string& word : words) check_value(spelling, word);
  return words;
}

const Command* find_command(std::string_view word) {
  for (const Command& command : commands()) {
    if (command.name == word) return &command;
  }
  return nullptr;
}

}  // namespace

Arguments::Arguments(std::span<const Option> options) : options_(options) {
  for (const Option& option : options) {
    Value& value = values_[option_key(option.name)];
    if (option.kind == Kind::kSwitch) {
      value.words = {*parse_switch(option.default_text) ? "true" : "false"};
    } else if (!option.default_text.empty()) {
      value.words = {option.default_text};
    }
  }
}

void Arguments::set(const Option& option, std::vector<std::string> words) {
  Value& value = values_[option_key(option.name)];
  if (option.kind == Kind::kPathList && value.origin == Origin::kCommandLine) {
    value.words.insert(value.words.end(), words.begin(), words.end());
  } else {
    value.words = std::move(words);
  }
  value.origin = Origin::kCommandLine;
}

/// A value that gives way to those of later origins.
void Arguments::settle(std::string_view option, std::vector<std::string> words, Origin origin) {
  Value& value = values_.find(option)->second;
  if (value.origin > origin) return;
  value = {.origin = origin, .words = std::move(words)};
}

void Arguments::read_environment(std::span<const Option> options) {
  for (const EnvironmentVariable& variable : environment_variables()) {
    const auto option = std::ranges::find(options, variable.option, &Option::name);
    const char* text = std::getenv(variable.name);
    if (option == options.end() || text == nullptr || *text == '\0') continue;
    if (const auto fault = value_fault(*option, text))
      fail(ErrorCode::kUsage, "environment variable {}: {} (got '{}')", variable.name, *fault,
           printable(text));
    settle(option_key(option->name), {text}, Origin::kEnvironment);
  }
}

void Arguments::take_word(const std::string& word, const Spelling& spelling) {
  if (spelling.option->kind != Kind::kPathList && given(option_key(spelling.option->name)))
    fail(ErrorCode::kUsage, "unexpected word '{}'; {} is given already", printable(word), spelling.text);
  check_value(spelling, word);
  set(*spelling.option, {word});
}

Arguments Arguments::parse(const std::vector<std::string>& args) {
  Arguments parsed(option_table());
  const bool analyze = !args.empty() && args[0] == "analyze";
  const bool has_word = analyze || (!args.empty() && args[0] == "convert");
  parsed.read(args, has_word ? 1 : 0, conversion_spellings(), analyze ? find_spelling("--input") : nullptr);
  if (analyze && !parsed.given("dry_run")) parsed.set(*find_spelling("--dry-run")->option, {"analyze"});
  if (const std::string config = parsed.text("config"); !config.empty()) {
    for (ConfigEntry& entry : read_config(config))
      parsed.settle(entry.option, std::move(entry.words), Origin::kConfig);
  }
  parsed.read_environment(option_table());
  const std::string recipe = parsed.text("recipe");
  if (recipe.ends_with(".json")) {
    for (auto& [option, value] : read_recipe(recipe)) parsed.settle(option, {value}, Origin::kRecipe);
  } else {
    for (const auto& [option, value] : recipe_choices(recipe))
      parsed.settle(option, {std::string(value)}, Origin::kRecipe);
  }
  for (const auto& [option, value] : profile_defaults(parsed.text("profile")))
    parsed.settle(option, {std::string(value)}, Origin::kProfile);
  return parsed;
}

Arguments Arguments::parse(const std::vector<std::string>& args, const CommandOptions& command) {
  Arguments parsed(command.options);
  const Spellings spellings(command.options);
  parsed.read(args, 0, spellings, spellings.find(fmt::format("--{}", command.words)));
  parsed.read_environment(command.options);
  return parsed;
}

void Arguments::read(const std::vector<std::string>& args, size_t at, const Spellings& spellings,
                     const Spelling* words_go_to) {
  bool options_ended = false;
  while (at < args.size()) {
    const std::string& text = args[at++];
    if (!options_ended && text == "--") {
      options_ended = true;
      continue;
    }
    if (options_ended || !looks_like_option(text)) {
      if (words_go_to != nullptr) {
        take_word(text, *words_go_to);
        continue;
      }
      fail(ErrorCode::kUsage, "unexpected word '{}'; name files with --input and --output", printable(text));
    }
    const Word word(text);
    const Spelling& spelling = known_option(spellings, word.name);
    const Option& option = *spelling.option;
    if (option.kind == Kind::kSwitch) {
      set(option, {switch_word(spelling, word.attached)});
    } else if (!spelling.implied.empty()) {
      if (word.attached) refuse(spelling.text, "takes no value", *word.attached);
      set(option, {std::string(spelling.implied)});
    } else {
      set(option, value_words(spelling, word.attached, args, at));
    }
  }
}

const Arguments::Value& Arguments::value(std::string_view option) const {
  const auto found = values_.find(option);
  if (found == values_.end()) throw std::logic_error(fmt::format("no option '{}' in the table", option));
  return found->second;
}

bool Arguments::given(std::string_view option) const {
  const Origin by = origin(option);
  return by == Origin::kCommandLine || by == Origin::kConfig;
}

bool Arguments::chosen(std::string_view option) const {
  return given(option) || origin(option) == Origin::kRecipe;
}

bool Arguments::flag(std::string_view option) const { return value(option).words.at(0) == "true"; }

const std::string& Arguments::text(std::string_view option) const {
  static const std::string kNone;
  const Value& found = value(option);
  return found.words.empty() ? kNone : found.words.back();
}

int64_t Arguments::integer(std::string_view option) const { return parse_integer(text(option)).value_or(0); }

double Arguments::number(std::string_view option) const { return parse_number(text(option)).value_or(0); }

uint64_t Arguments::bytes(std::string_view option) const { return parse_bytes(text(option)).value_or(0); }

double Arguments::seconds(std::string_view option) const { return parse_duration(text(option)).value_or(0); }

const std::vector<std::string>& Arguments::list(std::string_view option) const { return value(option).words; }

void check_command(const std::vector<std::string>& args) {
  if (args.empty() || args[0].starts_with('-')) return;
  const std::string& word = args[0];
  if (const Command* command = find_command(word)) {
    if (!command->available) fail(ErrorCode::kUsage, "command '{}': not available in this version", word);
    return;
  }
  std::vector<std::string_view> names;
  for (const Command& command : commands()) names.push_back(command.name);
  const std::string_view near = nearest_word(word, names);
  if (near.empty()) {
    fail(ErrorCode::kUsage, "command '{}': unknown command; name the model with --input", printable(word));
  }
  fail(ErrorCode::kUsage, "command '{}': unknown command; did you mean {}?", printable(word), near);
}

}  // namespace ctq::cli
