// Every option of the command line, once: parsing, help pages, --help-json and the tests read this table.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ctq::cli {

enum class Kind : unsigned char {
  kSwitch,       ///< --x, --no-x, --x=true, --x=false
  kInteger,
  kNumber,
  kText,
  kChoice,
  kPath,
  kPathList,     ///< repeatable, adds up
  kBytes,        ///< "4GB"
  kPattern,      ///< a regular expression
};

/// Where an option is printed. One page each.
enum class Page : unsigned char { kStandard, kFilters, kExperimental, kAdvanced, kLearned, kModes, kLora };

/// A numeric bound of an option's value.
struct Bound {
  double value;
  bool inclusive;
};

struct Option {
  std::string name;                  ///< the seed's spelling with its dashes: "--scaling_mode"
  std::vector<std::string> aliases;  ///< "-i", "--group_size", "-fpmm"
  Kind kind = Kind::kText;
  std::string default_text;          ///< as printed; empty when there is none. The true default: parsing starts from it
  std::vector<std::string> choices;  ///< kChoice: the words; an option with `optional_value` takes its first when bare
  bool optional_value = false;       ///< --dry-run and --dry-run=analyze
  std::optional<Bound> low, high;    ///< kInteger, kNumber
  Page page = Page::kStandard;
  std::string group;                 ///< heading on the page
  std::string help;                  ///< one line, without default and choices
  bool available = true;             ///< false: known, refused with "not available in this version"
  bool hidden = false;               ///< accepted or refused, but on no page
};

/// All options of the conversion, presets included, in the order of the pages.
const std::vector<Option>& option_table();

/// Command words and whether they are built.
struct Command {
  std::string_view name;
  std::string_view help;
  bool available;
};
std::span<const Command> commands();

}  // namespace ctq::cli
