#include "spelling.h"

#include <algorithm>
#include <vector>

#include "base/text.h"

namespace ctq::cli {
namespace {

/// Every '-' behind the leading dashes becomes '_'.
std::string folded(std::string_view spelling) {
  const size_t dashes = std::min<size_t>(spelling.starts_with("--") ? 2 : 1, spelling.size());
  std::string text(spelling);
  std::replace(text.begin() + static_cast<std::ptrdiff_t>(dashes), text.end(), '-', '_');
  return text;
}

using Index = std::map<std::string, Spelling, std::less<>>;

void index_option(Index& index, const Option& option) {
  auto add = [&](std::string text, bool negated, std::string_view implied) {
    std::string key = folded(text);
    index.try_emplace(std::move(key), Spelling{std::move(text), &option, negated, implied});
  };
  std::vector<std::string> names = option.aliases;
  names.insert(names.begin(), option.name);
  for (const std::string& name : names) {
    add(name, false, {});
    if (option.kind != Kind::kSwitch || !name.starts_with("--")) continue;
    add("--no-" + name.substr(2), true, {});
    if (name.starts_with("--no-")) add("--" + name.substr(5), true, {});
  }
  for (const Shortcut& shortcut : option.shortcuts) {
    const bool negated = option.kind == Kind::kSwitch && shortcut.value == "false";
    add(shortcut.spelling, negated, shortcut.value);
  }
}

}  // namespace

Spellings::Spellings(std::span<const Option> options) {
  for (const Option& option : options) index_option(by_folded_name_, option);
}

const Spelling* Spellings::find(std::string_view typed) const {
  const auto found = by_folded_name_.find(folded(typed));
  return found == by_folded_name_.end() ? nullptr : &found->second;
}

std::string_view Spellings::nearest(std::string_view typed) const {
  std::vector<std::string_view> words;
  for (const auto& [key, spelling] : by_folded_name_) {
    if (!spelling.option->hidden) words.push_back(key);
  }
  const std::string_view near = nearest_word(folded(typed), words);
  return near.empty() ? near : std::string_view(by_folded_name_.find(near)->second.text);
}

const Spellings& conversion_spellings() {
  static const Spellings spellings(conversion_table().options);
  return spellings;
}

std::vector<std::string> all_spellings(const Option& option) {
  std::vector<std::string> spellings{option.name};
  spellings.insert(spellings.end(), option.aliases.begin(), option.aliases.end());
  for (const Shortcut& shortcut : option.shortcuts) spellings.push_back(shortcut.spelling);
  return spellings;
}

std::string Option::key() const {
  std::string_view text = name;
  text.remove_prefix(std::min(text.find_first_not_of('-'), text.size()));
  std::string key(text);
  std::ranges::replace(key, '-', '_');
  return key;
}

bool is_truth(std::string_view word) {
  const std::string lower = lower_case(word);
  return lower == "true" || lower == "false";
}

bool looks_like_option(std::string_view word) {
  if (word.size() < 2 || word[0] != '-') return false;
  const char next = word[1] == '.' && word.size() > 2 ? word[2] : word[1];
  return next < '0' || next > '9';
}

}  // namespace ctq::cli
