// From what stands on the command line to the option that is meant.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "option.h"

namespace ctq::cli {

/// One way to write an option.
struct Spelling {
  std::string text;  ///< as the help prints it: "--scaling_mode", "-lm", "--no-simple"
  const Option* option;
  bool negated = false;      ///< --no-x of a switch
  std::string_view implied;  ///< value of a shortcut; empty otherwise
};

/// All spellings of a table's options, with '-' and '_' in any mix. The options must outlive it.
class Spellings {
 public:
  explicit Spellings(std::span<const Option> options);

  /// typed: dashes included, without "=value". Null when there is none.
  const Spelling* find(std::string_view typed) const;
  /// The spelling nearest to an unknown one, for "did you mean"; empty when none is near.
  std::string_view nearest(std::string_view typed) const;

 private:
  std::map<std::string, Spelling, std::less<>> by_folded_name_;
};

/// Of the conversion's table.
const Spellings& conversion_spellings();

/// Name, aliases and shortcuts, as the help prints them.
std::vector<std::string> all_spellings(const Option& option);

/// True for what can only be an option: a leading '-', unless a digit follows, and not '-' alone.
bool looks_like_option(std::string_view word);

/// Whether the word is "true" or "false" in any case, which may stand behind a switch.
bool is_truth(std::string_view word);

}  // namespace ctq::cli
