// Reads a command line by a table of options. CLI11 does it, on words that are brought into the one form that
// it takes for certain: it knows no names of several letters behind one dash, takes "--output --int8" as a
// value, and tells one of - and _ from the other.
#include "arguments.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <stdexcept>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/text.h"
#include "config_file.h"
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

void check_value(const Spelling& spelling, std::string_view value) {
  if (const auto fault = value_fault(*spelling.option, value)) refuse(spelling.text, *fault, value);
}

/// Whether a word can only be a model.
bool is_model(const std::string& word) {
  return word.ends_with(".safetensors") || word.ends_with(".safetensors.index.json") ||
         (!word.empty() && std::filesystem::exists(word));
}

/// Brings all words into the form --key=value.
class Normalizer {
 public:
  /// words_go_to: null where words outside options are refused; models_alone: those that are no model are
  Normalizer(const Spellings& spellings, const Spelling* words_go_to, bool models_alone)
      : spellings_(spellings), words_go_to_(words_go_to), models_alone_(models_alone) {}

  std::vector<std::string> run(std::span<const std::string> args) {
    rest_ = args;
    bool options_ended = false;
    while (!rest_.empty()) {
      const std::string& text = take();
      if (!options_ended && text == "--") {
        options_ended = true;
      } else if (options_ended || !looks_like_option(text)) {
        take_word(text);
      } else {
        take_option(text);
      }
    }
    return std::move(normal_);
  }

 private:
  const std::string& take() {
    const std::string& word = rest_.front();
    rest_ = rest_.subspan(1);
    return word;
  }

  void take_word(const std::string& word) {
    if (!words_go_to_ || (models_alone_ && !is_model(word)))
      fail(ErrorCode::kUsage, "unexpected word '{}'; name files with --input and --output", printable(word));
    if (words_go_to_->option->kind != Kind::kPathList && has_words_option_)
      fail(ErrorCode::kUsage, "unexpected word '{}'; {} is given already", printable(word),
           words_go_to_->text);
    check_value(*words_go_to_, word);
    has_words_option_ = true;
    put(*words_go_to_->option, word);
  }

  void take_option(std::string_view text) {
    const std::string_view name = text.substr(0, text.find('='));
    std::optional<std::string_view> attached;
    if (name.size() < text.size()) attached = text.substr(name.size() + 1);
    const Spelling& spelling = known(name);
    const Option& option = *spelling.option;
    has_words_option_ |= words_go_to_ && words_go_to_->option == &option;
    if (option.kind == Kind::kSwitch) {
      if (!attached && !rest_.empty() && is_truth(rest_.front())) attached = take();
      if (attached) check_value(spelling, *attached);
      const bool on = !attached || *parse_switch(*attached);
      put(option, on != spelling.negated ? "true" : "false");
    } else if (!spelling.implied.empty()) {
      if (attached) refuse(spelling.text, "takes no value", *attached);
      put(option, spelling.implied);
    } else {
      take_values(spelling, attached);
    }
  }

  const Spelling& known(std::string_view name) const {
    if (const Spelling* spelling = spellings_.find(name)) return *spelling;
    const std::string_view near = spellings_.nearest(name);
    refuse(printable(name),
           near.empty() ? "unknown option" : fmt::format("unknown option; did you mean {}?", near));
  }

  void take_values(const Spelling& spelling, std::optional<std::string_view> attached) {
    const Option& option = *spelling.option;
    const auto next_is_value = [&] { return !rest_.empty() && !looks_like_option(rest_.front()); };
    const auto checked = [&](std::string_view word) {
      check_value(spelling, word);
      put(option, word);
    };
    if (attached) {
      checked(*attached);
    } else if (option.optional_value && option.choices.empty()) {
      // The next word is a word of the command: only "=value" can be told from it.
      normal_.push_back("--" + option.key());
    } else if (next_is_value()) {
      do checked(take());
      while (option.kind == Kind::kPathList && next_is_value());
    } else if (option.optional_value) {
      put(option, option.choices.front());
    } else if (rest_.empty()) {
      refuse(spelling.text, "a value is missing");
    } else {
      refuse(spelling.text, "a value is missing", rest_.front());
    }
  }

  void put(const Option& option, std::string_view value) {
    normal_.push_back(fmt::format("--{}={}", option.key(), value));
  }

  const Spellings& spellings_;
  const Spelling* const words_go_to_;
  const bool models_alone_;
  std::span<const std::string> rest_;
  bool has_words_option_ = false;  ///< that words go to, by its name or a word
  std::vector<std::string> normal_;
};

const Command* find_command(std::string_view word) {
  const auto found = std::ranges::find(commands(), word, &Command::name);
  return found == commands().end() ? nullptr : &*found;
}

}  // namespace

Arguments::Arguments(std::span<const Option> options) : options_(options) {
  for (const Option& option : options) {
    Value& value = values_[option.key()];
    if (option.kind == Kind::kSwitch) {
      value.words = {*parse_switch(option.default_text) ? "true" : "false"};
    } else if (!option.default_text.empty()) {
      value.words = {option.default_text};
    }
  }
}

/// A value that gives way to those of later origins.
void Arguments::settle(std::string_view option, std::vector<std::string> words, Origin origin,
                       std::string place) {
  Value& value = values_.find(option)->second;
  if (value.origin > origin) return;
  value = {.origin = origin, .words = std::move(words), .place = std::move(place)};
}

void Arguments::read_environment() {
  for (const EnvironmentVariable& variable : environment_variables()) {
    const auto option = std::ranges::find(options_, variable.option, &Option::name);
    const char* text = std::getenv(variable.name);
    if (option == options_.end() || text == nullptr || *text == '\0') continue;
    if (const auto fault = value_fault(*option, text))
      fail(ErrorCode::kUsage, "environment variable {}: {} (got '{}')", variable.name, *fault,
           printable(text));
    settle(option->key(), {text}, Origin::kEnvironment, variable.name);
  }
}

Arguments Arguments::parse(const std::vector<std::string>& args, const Table& table) {
  Arguments parsed(table.options);
  const bool analyze = !args.empty() && args[0] == "analyze";
  const bool has_word = analyze || (!args.empty() && args[0] == "convert");
  parsed.read(std::span(args).subspan(has_word ? 1 : 0), "--input", /*models_alone=*/!analyze);
  if (analyze && !parsed.given("dry_run")) parsed.settle("dry_run", {"analyze"}, Origin::kCommandLine);
  if (const std::string config = parsed.text("config"); !config.empty()) {
    for (ConfigEntry& entry : read_config(config))
      parsed.settle(entry.option, std::move(entry.words), Origin::kConfig,
                    fmt::format("--config {}:{}", printable(config), entry.line));
  }
  parsed.read_environment();
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

Arguments Arguments::parse_command(const std::vector<std::string>& args, const Table& table) {
  Arguments parsed(table.options);
  parsed.read(args, table.words.empty() ? "" : fmt::format("--{}", table.words), /*models_alone=*/false);
  parsed.read_environment();
  return parsed;
}

void Arguments::read(std::span<const std::string> args, std::string_view words_go_to, bool models_alone) {
  const Spellings spellings(options_);
  const Spelling* words = words_go_to.empty() ? nullptr : spellings.find(words_go_to);
  std::vector<std::string> normal = Normalizer(spellings, words, models_alone).run(args);
  CLI::App app;
  app.set_help_flag();  // pages are looked for before
  std::vector<std::pair<const Option*, const CLI::Option*>> added;
  for (const Option& option : options_) {
    CLI::Option* read = app.add_option("--" + option.key());
    read->expected(option.optional_value ? 0 : 1, 1)->allow_extra_args(false);
    added.emplace_back(&option, read->multi_option_policy(CLI::MultiOptionPolicy::TakeAll));
  }
  std::ranges::reverse(normal);
  try {
    app.parse(normal);
  } catch (const CLI::ParseError& error) {
    throw std::logic_error(error.what());  // what can be wrong was found before
  }
  for (const auto& [option, read] : added) {
    if (read->count() == 0) continue;
    std::vector<std::string> found = read->results();
    if (option->kind != Kind::kPathList) found.erase(found.begin(), found.end() - 1);
    if (option->optional_value) std::erase(found, "");
    settle(option->key(), std::move(found), Origin::kCommandLine);
  }
}

void Arguments::fill() const {
  for (const Option& option : options_) {
    const Value& value = this->value(option.key());
    if (!option.fill || value.origin == Origin::kDefault) continue;
    if (option.call && !value.place.empty()) option.call(fmt::format("{} ({})", option.name, value.place));
    const bool by_user = value.origin == Origin::kCommandLine || value.origin == Origin::kConfig;
    option.fill(value.words, by_user                           ? engine::By::kUser
                             : value.origin == Origin::kRecipe ? engine::By::kRecipe
                                                               : engine::By::kDefault);
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

namespace {

/// Texts were checked when they were parsed: one that is no number here is of another kind of option.
template <typename T>
T number_of(const std::string& text, std::optional<T> parsed, std::string_view option) {
  if (!parsed && !text.empty()) throw std::logic_error(fmt::format("option '{}' is no such number", option));
  return parsed.value_or(0);
}

}  // namespace

int64_t Arguments::integer(std::string_view option) const {
  return number_of(text(option), parse_integer(text(option)), option);
}

double Arguments::number(std::string_view option) const {
  return number_of(text(option), parse_number(text(option)), option);
}

uint64_t Arguments::bytes(std::string_view option) const {
  return number_of(text(option), parse_bytes(text(option)), option);
}

const std::vector<std::string>& Arguments::list(std::string_view option) const { return value(option).words; }

void check_command(const std::vector<std::string>& args) {
  if (args.empty() || args[0].starts_with('-') || find_command(args[0]) || is_model(args[0])) return;
  std::vector<std::string_view> names;
  for (const Command& command : commands()) names.push_back(command.name);
  const std::string_view near = nearest_word(args[0], names);
  fail(ErrorCode::kUsage, "command '{}': unknown command; {}", printable(args[0]),
       near.empty() ? "and there is no model of that name" : fmt::format("did you mean {}?", near));
}

}  // namespace ctq::cli
