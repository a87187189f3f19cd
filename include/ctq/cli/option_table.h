// Every option of the command line, once: parsing, help pages, --help-json and the tests read this table.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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
  std::vector<std::string>
      unbuilt_choices;          ///< of `choices`: known, refused with "not available in this version"
  bool or_json_file = false;    ///< kChoice: a path that ends in .json as well
  bool optional_value = false;  ///< --dry-run and --dry-run=analyze. Without choices: --json and --json=PATH,
                                ///< text() is empty for the first and given() tells
  std::optional<Bound> low, high;  ///< kInteger, kNumber, kBytes; kDuration in seconds
  Page page = Page::kStandard;
  std::string group;       ///< heading on the page
  std::string help;        ///< one line, without default and choices
  bool available = false;  ///< false: known, refused with "not available in this version"
  bool hidden = false;     ///< accepted or refused, but on no page
};

/// All options of the conversion, presets included, in the order of the pages.
const std::vector<Option>& option_table();

/// The options of one command.
struct CommandOptions {
  std::span<const Option> options;
  std::string_view words;  ///< the option that a word outside options is the value of; empty: none, such
                           ///< words are refused
  std::string_view usage;  ///< what its page begins with
};

/// Of a built command with a table of its own, "calibrate"; null for other words, "convert" included.
const CommandOptions* command_options(std::string_view command);

/// Command words and whether they are built.
struct Command {
  std::string_view name;
  std::string_view help;
  bool available;
};
std::span<const Command> commands();

}  // namespace ctq::cli
