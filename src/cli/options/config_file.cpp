#include "config_file.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/text.h"
#include "file_option.h"
#include "option_file.h"
#include "spelling.h"

namespace ctq::cli {
namespace {

constexpr std::array<std::string_view, 2> kNotInFiles = {"config", "print_config"};

[[noreturn]] void refuse(std::string_view fact) { fail(ErrorCode::kUsage, "{}", fact); }

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

/// Reads the part behind '='. Quoted strings and lists of them are TOML's; all else is taken as it stands.
class ValueReader {
 public:
  explicit ValueReader(std::string_view text) : text_(trimmed(text)) {}

  std::vector<std::string> read() {
    std::vector<std::string> words;
    if (text_.starts_with('[')) {
      words = list();
    } else if (text_.starts_with('"') || text_.starts_with('\'')) {
      words.push_back(quoted());
    } else {
      return {std::string(trimmed(text_.substr(0, text_.find(" #"))))};
    }
    skip_blanks();
    if (!text_.empty() && text_[0] != '#')
      refuse(fmt::format("'{}' stands behind the value", printable(text_)));
    return words;
  }

 private:
  void skip_blanks() { text_ = trimmed(text_); }

  std::vector<std::string> list() {
    std::vector<std::string> words;
    text_.remove_prefix(1);
    for (skip_blanks(); !text_.starts_with(']'); skip_blanks()) {
      if (!text_.starts_with('"') && !text_.starts_with('\''))
        refuse("a list holds strings in quotes, on one line");
      words.push_back(quoted());
      skip_blanks();
      if (text_.starts_with(',')) text_.remove_prefix(1);
    }
    text_.remove_prefix(1);
    return words;
  }

  std::string quoted() {
    const char quote = text_[0];
    std::string word;
    for (size_t i = 1; i < text_.size(); ++i) {
      if (text_[i] == quote) {
        text_.remove_prefix(i + 1);
        return word;
      }
      if (text_[i] == '\\' && quote == '"') {
        if (++i == text_.size()) break;
        word += unescaped(text_[i]);
      } else {
        word += text_[i];
      }
    }
    refuse("a string has no end");
  }

  static char unescaped(char c) {
    switch (c) {
      case 'n': return '\n';
      case 't': return '\t';
      case 'r': return '\r';
      case '"':
      case '\\': return c;
      default: refuse(fmt::format("'\\{}' is no escape; in '...' backslashes are plain", printable({&c, 1})));
    }
  }

  std::string_view text_;
};

/// A line's option; nothing for blank lines, comments and headings.
std::optional<ConfigEntry> read_line(std::string_view line) {
  line = trimmed(line);
  if (line.empty() || line[0] == '#' || line[0] == ';') return std::nullopt;
  if (line[0] == '[') {
    if (line.find(']') == std::string_view::npos) refuse("a heading has no ']'");
    return std::nullopt;
  }
  const size_t equals = line.find('=');
  if (equals == std::string_view::npos) refuse("is no line 'name = value'");
  const std::string name(trimmed(line.substr(0, equals)));
  const std::vector<std::string> words = ValueReader(line.substr(equals + 1)).read();
  ConfigEntry entry;
  const Option* option = nullptr;
  for (const std::string& word : words) {
    FileOption part = option_of_file(name, word);
    option = part.option;
    entry.option = std::move(part.key);
    entry.words.push_back(std::move(part.value));
  }
  if (option == nullptr || (words.size() > 1 && option->kind != Kind::kPathList))
    refuse(fmt::format("'{}' takes one value", printable(name)));
  if (std::ranges::find(kNotInFiles, entry.option) != kNotInFiles.end())
    refuse(fmt::format("'{}' is for the command line", printable(name)));
  return entry;
}

/// As a TOML string.
std::string in_quotes(const std::string& word) {
  if (word.find_first_of("'\n\r\t") == std::string::npos) return "'" + word + "'";
  std::string text = "\"";
  for (const char c : word) {
    switch (c) {
      case '\n': text += "\\n"; break;
      case '\r': text += "\\r"; break;
      case '\t': text += "\\t"; break;
      case '"':
      case '\\': text += '\\'; [[fallthrough]];
      default: text += c;
    }
  }
  return text + "\"";
}

std::string value_text(const Option& option, const std::vector<std::string>& words) {
  const bool bare =
      option.kind == Kind::kSwitch || option.kind == Kind::kInteger || option.kind == Kind::kNumber;
  if (option.kind != Kind::kPathList) return bare ? words.back() : in_quotes(words.back());
  std::vector<std::string> quoted;
  for (const std::string& word : words) quoted.push_back(in_quotes(word));
  return fmt::format("[{}]", fmt::join(quoted, ", "));
}

}  // namespace

std::vector<ConfigEntry> read_config(const std::string& path) {
  std::istringstream text(read_option_file("--config", path));
  std::vector<ConfigEntry> entries;
  std::set<std::string> seen;
  int number = 0;
  for (std::string line; std::getline(text, line);) {
    ++number;
    try {
      std::optional<ConfigEntry> entry = read_line(line);
      if (!entry) continue;
      entry->line = number;
      if (!seen.insert(entry->option).second) refuse(fmt::format("'{}' stands twice", entry->option));
      entries.push_back(std::move(*entry));
    } catch (const Error& error) {
      fail(error.code(), "argument --config: {}:{}: {}", path, number, error.what());
    }
  }
  return entries;
}

std::string config_text(const Arguments& arguments) {
  std::string text;
  std::string_view group;
  for (const Option& option : arguments.options()) {
    const std::string key = option.key();
    if (option.hidden || option.group == "Help" || option.page == Page::kModes ||
        option.name.starts_with("--list-") || std::ranges::find(kNotInFiles, key) != kNotInFiles.end())
      continue;
    if (option.group != group) text += fmt::format("{}# {}\n", group.empty() ? "" : "\n", option.group);
    group = option.group;
    const Origin origin = arguments.origin(key);
    const std::vector<std::string>& words = arguments.list(key);
    if (words.empty()) {
      text +=
          fmt::format("# {} ={}\n", key, option.default_note.empty() ? "" : " (" + option.default_note + ")");
    } else {
      text +=
          fmt::format("{}{} = {}{}\n", origin >= Origin::kConfig ? "" : "# ", key, value_text(option, words),
                      origin == Origin::kRecipe    ? "  (recipe)"
                      : origin == Origin::kProfile ? "  (profile)"
                                                   : "");
    }
  }
  return text;
}

}  // namespace ctq::cli
