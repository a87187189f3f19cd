// Words to write option tables with: toggle(settings.rounding.simple, "--simple", "Round to nearest").
#pragma once

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "arguments.h"
#include "ctq/engine/settings.h"
#include "option.h"
#include "value.h"

namespace ctq::cli {

using engine::Setting;

/// An option under construction.
class Row {
 public:
  /// Bound to nothing.
  Row(Kind kind, std::string_view name, std::string help) {
    option_.kind = kind;
    option_.name = name;
    option_.help = std::move(help);
    if (kind == Kind::kSwitch) option_.default_text = "off";
  }

  /// Bound to a setting, whose default it shows. name: a literal, messages call the setting by it
  template <typename T>
  Row(Kind kind, Setting<T>& setting, std::string_view name, std::string help)
      : Row(kind, name, std::move(help)) {
    setting.set_label(name);
    if constexpr (std::is_same_v<T, bool>) {
      option_.default_text = *setting ? "on" : "off";
    } else if constexpr (engine::IsOptional<T>::value || std::is_arithmetic_v<T>) {
      if (*setting != T{}) option_.default_text = setting.text();
    } else {
      option_.default_text = setting.text();
    }
    for (const std::string_view word : engine::words_of_type<T>()) option_.choices.emplace_back(word);
    option_.fill = [&setting](const std::vector<std::string>& words, engine::By by) {
      setting.set(value_of<T>(words), by, words.empty() ? "" : words.back());
    };
    option_.call = [&setting](std::string_view label) { setting.set_label(label); };
  }

  Row&& alias(std::string spelling) && {
    return option_.aliases.push_back(std::move(spelling)), std::move(*this);
  }
  Row&& shortcut(std::string spelling, std::string value) && {
    return option_.shortcuts.push_back({std::move(spelling), std::move(value)}), std::move(*this);
  }
  /// A default that is zero, or of a row that is bound to nothing.
  Row&& standard(std::string text) && { return option_.default_text = std::move(text), std::move(*this); }
  /// A default that is described, because it follows from other options.
  Row&& otherwise(std::string note) && { return option_.default_note = std::move(note), std::move(*this); }
  Row&& choose(std::vector<std::string> words) && {
    return option_.choices = std::move(words), std::move(*this);
  }
  Row&& or_json_file() && { return option_.or_json_file = true, std::move(*this); }
  Row&& or_auto() && {
    option_.or_auto = true;
    return std::move(*this).otherwise(std::string(kAuto));
  }
  Row&& at_least(double value) && { return option_.low = Bound{value, true}, std::move(*this); }
  Row&& above(double value) && { return option_.low = Bound{value, false}, std::move(*this); }
  Row&& at_most(double value) && { return option_.high = Bound{value, true}, std::move(*this); }
  Row&& below(double value) && { return option_.high = Bound{value, false}, std::move(*this); }
  Row&& value_optional() && { return option_.optional_value = true, std::move(*this); }
  /// Fills something else than one setting.
  Row&& fills(std::function<void(const std::vector<std::string>&, engine::By)> fill) && {
    option_.fill = std::move(fill);
    return std::move(*this);
  }
  Row&& in_seconds(Setting<std::optional<double>>& setting) && {
    option_.fill = [&setting](const std::vector<std::string>& words, engine::By by) {
      setting.set(parse_duration(words.back()), by, words.back());
    };
    return std::move(*this);
  }
  Row&& hide() && { return option_.hidden = true, std::move(*this); }

  const Option& option() const { return option_; }

 private:
  Option option_;
};

inline Row toggle(std::string_view name, std::string help) { return {Kind::kSwitch, name, std::move(help)}; }
inline Row toggle(Setting<bool>& setting, std::string_view name, std::string help) {
  return {Kind::kSwitch, setting, name, std::move(help)};
}
inline Row integer(Setting<int64_t>& setting, std::string_view name, std::string help) {
  return {Kind::kInteger, setting, name, std::move(help)};
}
template <typename T>  // double, or an optional one
Row number(Setting<T>& setting, std::string_view name, std::string help) {
  return {Kind::kNumber, setting, name, std::move(help)};
}
inline Row text(Setting<std::string>& setting, std::string_view name, std::string help) {
  return {Kind::kText, setting, name, std::move(help)};
}
template <typename T>  // an enumeration with words, or what its words stand for
Row choice(Setting<T>& setting, std::string_view name, std::string help) {
  return {Kind::kChoice, setting, name, std::move(help)};
}
inline Row path(Setting<engine::Path>& setting, std::string_view name, std::string help) {
  return {Kind::kPath, setting, name, std::move(help)};
}
inline Row paths(Setting<std::vector<engine::Path>>& setting, std::string_view name, std::string help) {
  return {Kind::kPathList, setting, name, std::move(help)};
}
inline Row size(Setting<uint64_t>& setting, std::string_view name, std::string help) {
  return {Kind::kBytes, setting, name, std::move(help)};
}
inline Row duration(Setting<std::optional<double>>& setting, std::string_view name, std::string help) {
  return Row(Kind::kDuration, setting, name, std::move(help)).in_seconds(setting);
}
inline Row pattern(Setting<std::string>& setting, std::string_view name, std::string help) {
  return {Kind::kPattern, setting, name, std::move(help)};
}
inline Row device(Setting<std::string>& setting, std::string_view name, std::string help) {
  return {Kind::kDevice, setting, name, std::move(help)};
}

/// Appends a group of rows.
void add(std::vector<Option>& table, Page page, const std::string& group, const std::vector<Row>& rows);

/// --help of a command with a page of its own.
void add_help(std::vector<Option>& table);

/// A command's table for pages, bound to settings that nobody reads.
template <typename Asked>
const Table& shown_table(Table (*make)(Asked&)) {
  static Asked nobodys;
  static const Table table = make(nobodys);
  return table;
}
/// What the words ask for.
/// throws  as Arguments::parse_command()
template <typename Asked>
Asked& parse_into(Asked& asked, const std::vector<std::string>& args, Table (*make)(Asked&)) {
  const Table table = make(asked);
  Arguments::parse_command(args, table).fill();
  return asked;
}

/// What an extracted LoRA is like: of the command and of the conversion.
std::vector<Row> lora_rows(engine::Loras& loras);

}  // namespace ctq::cli
