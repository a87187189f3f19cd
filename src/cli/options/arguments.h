// A parsed command line.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "option.h"

namespace ctq::cli {

/// Where an option's value comes from. A later one wins.
enum class Origin : unsigned char { kDefault, kProfile, kRecipe, kConfig, kEnvironment, kCommandLine };

/// Values of all options of a table, by key: "scaling_mode", "report_quality". Everything is checked when it
/// exists: numbers parse completely and lie in their bounds, choices are of the list, sizes are sizes. What
/// needs two options at once (conflicts, a missing --input) is left to the command.
class Arguments {
 public:
  /// args: without the program's name. Only options of the conversion, behind a leading word "convert", or
  /// "analyze", which is --dry-run and takes the input as a word too. table: the conversion's, or a copy that
  /// is bound to other settings; must outlive this
  /// throws  Error(kUsage) "argument <option>: <what is wrong> (got '<value>')" for the first fault from left
  ///         to right: unknown option (with a near one), missing or bad value, a stray word
  static Arguments parse(const std::vector<std::string>& args, const Table& table = conversion_table());

  /// The same for a command with a table of its own, without files of options. args: without the command's
  /// word.
  static Arguments parse_command(const std::vector<std::string>& args, const Table& table);

  /// Fills the settings that options are bound to, but for defaults. Those of a file or the environment are
  /// called by their place too.
  void fill() const;

  /// True when the option stands on the command line, in any spelling and form, or in the --config file.
  bool given(std::string_view option) const;
  /// True when it does, or when --recipe chooses it.
  bool chosen(std::string_view option) const;
  /// Switches.
  bool flag(std::string_view option) const;
  /// Text, choices, paths and patterns; empty when neither given nor defaulted.
  const std::string& text(std::string_view option) const;
  /// 0 when neither given nor defaulted, as all numbers here.
  int64_t integer(std::string_view option) const;
  double number(std::string_view option) const;
  uint64_t bytes(std::string_view option) const;
  const std::vector<std::string>& list(std::string_view option) const;
  Origin origin(std::string_view option) const { return value(option).origin; }
  /// The table.
  std::span<const Option> options() const { return options_; }

 private:
  struct Value {
    Origin origin = Origin::kDefault;
    std::vector<std::string> words;
    std::string place;  ///< "--config options.toml:3", "CTQ_THREADS"; empty: the command line, or no place
  };
  explicit Arguments(std::span<const Option> options);
  void read(std::span<const std::string> args, std::string_view words_go_to, bool models_alone);
  const Value& value(std::string_view option) const;
  void settle(std::string_view option, std::vector<std::string> words, Origin origin, std::string place = "");
  void read_environment();

  std::span<const Option> options_;
  std::map<std::string, Value, std::less<>> values_;
};

/// Looks at the command word in front, if there is one.
/// throws  Error(kUsage) for a word that is no command
void check_command(const std::vector<std::string>& args);

}  // namespace ctq::cli
