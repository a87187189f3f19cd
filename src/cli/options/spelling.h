// From what stands on the command line to the option that is meant.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ctq/cli/option_table.h"

namespace ctq::cli {

/// One way to write an option.
struct Spelling {
  std::string text;  ///< as the help prints it: "--scaling_mode", "-lm", "--no-simple"
  const Option* option;
  bool negated = false;      ///< --no-x of a switch
  std::string_view implied;  ///< value of a shortcut; empty otherwise
};

/// All spellings of a table's options. The options must outlive it.
class Spellings {
 public:
  explicit Spellings(std::span<const Option> options);

  /// As the functions below, which look at the conversion's table.
  const Spelling* find(std::string_view typed) const;
  std::string_view nearest(std::string_view typed) const;

 private:
  std::map<std::string, Spelling, std::less<>> by_folded_name_;
};

/// Of the conversion's table.
const Spellings& conversion_spellings();

/// The spelling that `typed` (dashes included, without "=value") is, with '-' and '_' in any mix; null when
/// there is none.
const Spelling* find_spelling(std::string_view typed);

/// "--scaling_mode" from "scaling_mode", an option of the conversion.
const std::string& option_name(std::string_view key);

/// The spelling nearest to an unknown one, for "did you mean"; empty when none is near.
std::string_view nearest_spelling(std::string_view typed);

/// Name, aliases and shortcuts, as the help prints them.
std::vector<std::string> all_spellings(const Option& option);

/// The choices of this version.
std::vector<std::string> built_choices(const Option& option);

/// "scaling_mode" from "--scaling-mode".
std::string option_key(std::string_view name);

/// True for what can only be an option: a leading '-', unless a digit follows, and not '-' alone.
bool looks_like_option(std::string_view word);

}  // namespace ctq::cli
