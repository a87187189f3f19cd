// An option as people see it, and the setting that it fills. Parsing, help pages, --help-json, completion and
// the man page read tables of these.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ctq/engine/setting.h"

namespace ctq::cli {

enum class Kind : unsigned char {
  kSwitch,  ///< --x, --no-x, --x=true, --x=false
  kInteger,
  kNumber,
  kText,
  kChoice,
  kPath,
  kPathList,  ///< one or more paths, repeatable, adds up
  kBytes,     ///< "4GB"
  kDuration,  ///< "1h30m"
  kPattern,   ///< a regular expression
  kDevice,    ///< auto, cpu, cuda, cuda:N
};

/// Where an option is printed. One page each.
enum class Page : unsigned char { kStandard, kFilters, kExperimental, kAdvanced, kLearned, kModes, kLora };

/// A numeric bound of an option's value.
struct Bound {
  double value;
  bool inclusive;
};

/// A spelling that stands for the option with a value: -vv for --verbose DEBUG.
struct Shortcut {
  std::string spelling;
  std::string value;
};

struct Option {
  std::string name;                  ///< the seed's spelling with its dashes: "--scaling_mode"
  std::vector<std::string> aliases;  ///< "-i", "--group_size", "-fpmm"
  std::vector<Shortcut> shortcuts;
  Kind kind = Kind::kText;
  std::string default_text;  ///< as printed; empty when there is none. Parsing starts from it
  std::string default_note;  ///< printed where the default follows from other options; never parsed
  std::vector<std::string>
      choices;  ///< kChoice: the words; an option with `optional_value` takes its first when bare
  bool or_json_file = false;    ///< kChoice: a path that ends in .json as well
  bool or_auto = false;         ///< kNumber: "auto" as well, which is what it is without the option
  bool optional_value = false;  ///< --dry-run and --dry-run=analyze. Without choices: --json and --json=PATH,
                                ///< its text is empty for the first
  std::optional<Bound> low, high;  ///< kInteger, kNumber, kBytes; kDuration in seconds
  Page page = Page::kStandard;
  std::string group;    ///< heading on the page
  std::string help;     ///< one line, without default and choices
  bool hidden = false;  ///< accepted, but on no page
  /// Fills the setting that it is bound to; null: none. words: checked
  std::function<void(const std::vector<std::string>& words, engine::By by)> fill;
  /// Has messages call that setting so: "--sweeps (--config options.toml:3)"; null: bound to none
  std::function<void(std::string_view label)> call;

  /// "scaling_mode" for "--scaling_mode".
  std::string key() const;
};

/// The options of a command.
struct Table {
  std::vector<Option> options;
  std::string_view words;  ///< the option that a word outside options is the value of; empty: none, such
                           ///< words are refused
  std::string_view usage;  ///< what its page begins with
};

/// All options of the conversion, presets included, in the order of the pages.
const Table& conversion_table();

/// Of a command with a table of its own, "calibrate"; null for other words, "convert" included.
const Table* command_table(std::string_view command);

struct Command {
  std::string_view name;
  std::string_view help;
};
std::span<const Command> commands();

}  // namespace ctq::cli
