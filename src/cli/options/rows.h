// Words to write the option table with: toggle("--simple", "Round to nearest").built().
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ctq/cli/option_table.h"

namespace ctq::cli {

/// An option under construction. Options are refused as not available unless built().
class Row {
 public:
  Row(Kind kind, std::string name, std::string help) {
    option_.kind = kind;
    option_.name = std::move(name);
    option_.help = std::move(help);
  }

  /// An option of another table.
  explicit Row(Option option) : option_(std::move(option)) {}

  Row&& alias(std::string spelling) && {
    return option_.aliases.push_back(std::move(spelling)), std::move(*this);
  }
  Row&& shortcut(std::string spelling, std::string value) && {
    return option_.shortcuts.push_back({std::move(spelling), std::move(value)}), std::move(*this);
  }
  Row&& standard(std::string text) && { return option_.default_text = std::move(text), std::move(*this); }
  /// A default that is described, because it follows from other options.
  Row&& otherwise(std::string note) && { return option_.default_note = std::move(note), std::move(*this); }
  Row&& choose(std::vector<std::string> words) && {
    return option_.choices = std::move(words), std::move(*this);
  }
  Row&& unbuilt(std::vector<std::string> words) && {
    return option_.unbuilt_choices = std::move(words), std::move(*this);
  }
  Row&& or_json_file() && { return option_.or_json_file = true, std::move(*this); }
  Row&& at_least(double value) && { return option_.low = Bound{value, true}, std::move(*this); }
  Row&& above(double value) && { return option_.low = Bound{value, false}, std::move(*this); }
  Row&& at_most(double value) && { return option_.high = Bound{value, true}, std::move(*this); }
  Row&& below(double value) && { return option_.high = Bound{value, false}, std::move(*this); }
  Row&& value_optional() && { return option_.optional_value = true, std::move(*this); }
  Row&& built() && { return option_.available = true, std::move(*this); }
  Row&& hide() && { return option_.hidden = true, std::move(*this); }

  const Option& option() const { return option_; }

 private:
  Option option_;
};

inline Row toggle(std::string name, std::string help) {
  return Row(Kind::kSwitch, std::move(name), std::move(help)).standard("off");
}
inline Row integer(std::string name, std::string help) {
  return {Kind::kInteger, std::move(name), std::move(help)};
}
inline Row number(std::string name, std::string help) {
  return {Kind::kNumber, std::move(name), std::move(help)};
}
inline Row text(std::string name, std::string help) {
  return {Kind::kText, std::move(name), std::move(help)};
}
inline Row choice(std::string name, std::string help) {
  return {Kind::kChoice, std::move(name), std::move(help)};
}
inline Row path(std::string name, std::string help) {
  return {Kind::kPath, std::move(name), std::move(help)};
}
inline Row paths(std::string name, std::string help) {
  return {Kind::kPathList, std::move(name), std::move(help)};
}
inline Row size(std::string name, std::string help) {
  return {Kind::kBytes, std::move(name), std::move(help)};
}
inline Row duration(std::string name, std::string help) {
  return {Kind::kDuration, std::move(name), std::move(help)};
}
inline Row pattern(std::string name, std::string help) {
  return {Kind::kPattern, std::move(name), std::move(help)};
}
inline Row device(std::string name, std::string help) {
  return {Kind::kDevice, std::move(name), std::move(help)};
}

/// Appends a group of rows.
inline void add(std::vector<Option>& table, Page page, const std::string& group,
                const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    Option& option = table.emplace_back(row.option());
    option.page = page;
    option.group = group;
  }
}

// One function per source file of the table; each appends its pages.
void add_standard_options(std::vector<Option>& table);
void add_filter_options(std::vector<Option>& table);
void add_experimental_options(std::vector<Option>& table);
void add_learned_options(std::vector<Option>& table);  ///< with the advanced page
void add_mode_options(std::vector<Option>& table);     ///< with the LoRA extraction page

/// What an extracted LoRA is like: of the command and of the conversion.
std::vector<Row> lora_rows();

// One function per command with a table of its own.
const CommandOptions& calibrate_options();
const CommandOptions& assemble_options();
const CommandOptions& clip_g_options();
const CommandOptions& fp8_options();
const CommandOptions& inspect_options();
const CommandOptions& verify_options();
const CommandOptions& compare_options();
const CommandOptions& dequantize_options();
const CommandOptions& edit_options();
const CommandOptions& migrate_options();
const CommandOptions& extract_lora_options();
const CommandOptions& batch_options();
const CommandOptions& completion_options();

}  // namespace ctq::cli
