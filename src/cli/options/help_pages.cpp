#include "help_pages.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/terminal.h"
#include "base/text.h"
#include "base/version.h"
#include "families/preset.h"
#include "spelling.h"
#include "value.h"

namespace ctq::cli {
namespace {

struct PageText {
  Page page;
  std::string_view key;        ///< in --help-json
  std::string_view spellings;  ///< of its switch
  std::string_view title;
  std::string_view explanation;
};

constexpr std::array kPages{
    PageText{Page::kStandard, "standard", "--help-standard, -hs", "Standard Options",
             "What most conversions need; --help shows the first of them."},
    PageText{Page::kFilters, "filters", "--help-filters, -hf", "Layer Filters",
             "Presets that keep the sensitive layers of a model family unquantized.\n"
             "Several may be combined; a preset that protects nothing in the file is reported."},
    PageText{Page::kExperimental, "experimental", "--help-experimental, -he", "Experimental Options",
             "Formats, methods and routing rules for those who measure the result."},
    PageText{Page::kAdvanced, "advanced", "--help-advanced, -ha", "Advanced Options",
             "Fine tuning of learned rounding: learning rate by shape, early stopping."},
    PageText{Page::kLearned, "learned", "--help-learned, -hl", "Learned Rounding",
             "Settings of the optimizers that --optimizer chooses."},
    PageText{Page::kModes, "modes", "--help-modes, -hm", "Conversion and Utility Modes",
             "Switches that do something else than quantize. One of them at a time."},
    PageText{Page::kLora, "lora", "--help-lora, -hlr", "LoRA Extraction",
             "A LoRA that adds back what quantization lost."},
};

/// When several pages are asked for, the first of these is printed.
constexpr std::array kPrecedence{Page::kLearned, Page::kExperimental, Page::kFilters, Page::kAdvanced,
                                 Page::kModes,   Page::kLora,         Page::kStandard};

/// What --help shows.
constexpr std::array<std::string_view, 21> kFirstOptions{"--input",
                                                         "--output",
                                                         "--recipe",
                                                         "--int8",
                                                         "--fp8",
                                                         "--nvfp4",
                                                         "--mxfp8",
                                                         "--fp16",
                                                         "--format",
                                                         "--comfy_quant",
                                                         "--client",
                                                         "--scaling_mode",
                                                         "--quality",
                                                         "--simple",
                                                         "--target-size",
                                                         "--exclude-layers",
                                                         "--calibration-data",
                                                         "--merge-lora",
                                                         "--device",
                                                         "--dry-run",
                                                         "--report"};

/// What a help page calls the value of an option, by its kind.
constexpr std::array<std::string_view, 11> kValueNames{"",        "N",    "X",    "TEXT",  "WORD",  "FILE",
                                                       "FILE...", "SIZE", "TIME", "REGEX", "DEVICE"};

constexpr std::array<std::string_view, 11> kKindNames{"switch",   "integer", "number", "text",
                                                      "choice",   "path",    "paths",  "bytes",
                                                      "duration", "pattern", "device"};

const PageText& page_text(Page page) {
  return *std::find_if(kPages.begin(), kPages.end(), [&](const PageText& text) { return text.page == page; });
}

std::string_view kind_name(Kind kind) { return kKindNames.at(static_cast<size_t>(kind)); }

std::string default_remark(const Option& option) {
  if (!option.default_note.empty()) return fmt::format(" (default: {})", option.default_note);
  const bool silent =
      option.default_text.empty() || (option.kind == Kind::kSwitch && option.default_text == "off");
  return silent ? "" : fmt::format(" (default: {})", option.default_text);
}

std::string choices_remark(const Option& option) {
  if (option.choices.empty()) return "";
  return fmt::format(" [choices: {}]", fmt::join(option.choices, ", "));
}

/// " FILE", "[=FILE]"; empty where it takes none.
std::string value_name(const Option& option) {
  const std::string_view name = kValueNames.at(static_cast<size_t>(option.kind));
  if (name.empty()) return "";
  return option.optional_value ? fmt::format("[={}]", name) : fmt::format(" {}", name);
}

constexpr size_t kColumn = 32;  // where explanations begin

/// "  left      explanation", wrapped.
std::string line_of(std::string_view left, std::string_view explanation) {
  std::string line = fmt::format("  {:<{}}", left, kColumn - 2);
  if (left.size() + 3 > kColumn) line += fmt::format("\n{:<{}}", "", kColumn);
  return line + wrapped(explanation, kColumn, columns(stdout)) + "\n";
}

std::string option_line(const Option& option) {
  return line_of(fmt::format("{}{}", fmt::join(all_spellings(option), ", "), value_name(option)),
                 option.help + default_remark(option) + choices_remark(option));
}

/// The groups of a table that stand on the page.
std::string option_groups(std::span<const Option> options, Page page) {
  std::string text;
  std::string_view group;
  for (const Option& option : options) {
    if (option.page != page || option.hidden) continue;
    if (option.group != group) {
      group = option.group;
      text += fmt::format("\n{}\n{:-<40}\n", group, "");
    }
    text += option_line(option);
  }
  return text;
}

std::string first_page() {
  std::string text =
      "usage: convert_to_quant MODEL [-o OUT] [options]\n\n"
      "  convert_to_quant model.safetensors --recipe comfy-int8     half the size, for ComfyUI\n"
      "  convert_to_quant model.safetensors --recipe comfy-nvfp4    a quarter, for GPUs that multiply "
      "FP4\n\n" +
      wrapped(
          "Quantizes a safetensors checkpoint: to INT8 in blocks, which needs a custom node, unless a recipe "
          "or "
          "another target is named. Switches may be written --x, --no-x, --x=true or --x=false; '-' and '_' "
          "in "
          "names are the same.",
          0, columns(stdout)) +
      "\n\nFirst options\n";
  for (const std::string_view name : kFirstOptions)
    text += option_line(*std::ranges::find(conversion_table().options, name, &Option::name));
  text += "\nAll options\n";
  for (const PageText& page : kPages) text += line_of(page.spellings, page.title);
  text += line_of("--help-json", "All options and commands as JSON");
  text += "\nCommands\n";
  for (const Command& command : commands()) text += line_of(command.name, command.help);
  return text;
}

nlohmann::ordered_json default_json(const Option& option) {
  if (option.default_text.empty()) return nullptr;
  if (option.kind == Kind::kSwitch) return *parse_switch(option.default_text);
  if (option.kind == Kind::kInteger) return parse_integer(option.default_text).value();
  if (option.kind == Kind::kNumber) return parse_number(option.default_text).value();
  return option.default_text;
}

nlohmann::ordered_json option_json(const Option& option) {
  nlohmann::ordered_json json{{"name", option.name},
                              {"aliases", option.aliases},
                              {"shortcuts", nlohmann::ordered_json::object()},
                              {"type", kind_name(option.kind)},
                              {"default", default_json(option)}};
  for (const Shortcut& shortcut : option.shortcuts) json["shortcuts"][shortcut.spelling] = shortcut.value;
  if (!option.default_note.empty()) json["default_note"] = option.default_note;
  if (option.low) json[option.low->inclusive ? "minimum" : "exclusive_minimum"] = option.low->value;
  if (option.high) json[option.high->inclusive ? "maximum" : "exclusive_maximum"] = option.high->value;
  json["choices"] = option.choices;
  json["optional_value"] = option.optional_value;
  json["page"] = page_text(option.page).key;
  json["group"] = option.group;
  json["help"] = option.help;
  json["hidden"] = option.hidden;
  return json;
}

void append_patterns(std::string& text, std::string_view origin, const families::PatternLists& lists) {
  auto append = [&](std::string_view list, std::span<const std::string_view> patterns) {
    if (!patterns.empty()) text += fmt::format("    {} {}: {}\n", origin, list, fmt::join(patterns, ", "));
  };
  append("exclude", lists.exclude);
  append("highprec", lists.highprec);
  append("remove", lists.remove);
}

/// True when a switch that asks for a page stands before "--".
bool asked_for(const std::vector<std::string>& args, std::string_view name,
               const Spellings& spellings = conversion_spellings()) {
  for (const std::string& word : args) {
    if (word == "--") return false;
    const size_t equals = word.find('=');
    const Spelling* spelling = looks_like_option(word) ? spellings.find(word.substr(0, equals)) : nullptr;
    if (spelling == nullptr || spelling->option->name != name) continue;
    const std::optional<bool> on = equals == std::string::npos ? true : parse_switch(word.substr(equals + 1));
    if (on && *on != spelling->negated) return true;
  }
  return false;
}

}  // namespace

std::string help_page(Page page) {
  const PageText& text = page_text(page);
  return fmt::format("{}\n{:=<60}\n{}\n{}", text.title, "", text.explanation,
                     option_groups(conversion_table().options, page));
}

std::string help_json() {
  nlohmann::ordered_json json{{"program", "convert_to_quant"}, {"version", version()}};
  json["commands"] = nlohmann::ordered_json::array();
  for (const Command& command : commands()) {
    nlohmann::ordered_json row{{"name", command.name}, {"help", command.help}};
    if (const Table* own = command_table(command.name)) {
      row["options"] = nlohmann::ordered_json::array();
      for (const Option& option : own->options) {
        row["options"].push_back(option_json(option));
        row["options"].back().erase("page");
      }
    }
    json["commands"].push_back(std::move(row));
  }
  json["options"] = nlohmann::ordered_json::array();
  for (const Option& option : conversion_table().options) json["options"].push_back(option_json(option));
  return json.dump(2) + "\n";
}

std::string version_text() {
  return fmt::format("convert_to_quant {}\nLibTorch 2.11, CPU; CUDA loaded on demand\n", version());
}

std::string filter_list() {
  std::string text;
  for (const families::PresetCategory& category : families::preset_categories()) {
    text += fmt::format("{}\n{:-<40}\n", category.heading, "");
    for (const families::Preset* preset : families::presets()) {
      if (preset->category != category.key) continue;
      text += fmt::format("  --{}\n    {}\n", preset->name, preset->help);
      if (!preset->alias_for.empty()) text += fmt::format("    same as --{}\n", preset->alias_for);
      if (preset->seed) append_patterns(text, "seed", *preset->seed);
      if (preset->peer) append_patterns(text, "peer", *preset->peer);
      if (preset->ours) append_patterns(text, "ours", *preset->ours);
    }
    text += "\n";
  }
  return text;
}

std::string command_page(const Table& command) {
  return fmt::format("{}{}", command.usage, option_groups(command.options, Page::kStandard));
}

std::optional<std::string> requested_page(const std::vector<std::string>& args) {
  if (!args.empty()) {
    if (const Table* own = command_table(args[0])) {
      if (asked_for(args, "--help", Spellings(own->options))) return command_page(*own);
      if (asked_for(args, "--help-json")) return help_json();
      if (asked_for(args, "--version")) return version_text();
      return std::nullopt;
    }
  }
  for (const Page page : kPrecedence) {
    const std::string_view spellings = page_text(page).spellings;
    if (asked_for(args, spellings.substr(0, spellings.find(',')))) return help_page(page);
  }
  if (asked_for(args, "--help")) return first_page();
  if (asked_for(args, "--help-json")) return help_json();
  if (asked_for(args, "--version")) return version_text();
  if (asked_for(args, "--list-filters")) return filter_list();
  if (asked_for(args, "--list-formats")) return format_list();
  return std::nullopt;
}

bool print_requested_page(const std::vector<std::string>& args) {
  const std::optional<std::string> page = requested_page(args);
  if (page) fmt::print(stdout, "{}", *page);
  return page.has_value();
}

}  // namespace ctq::cli
