// A parsed command line.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ctq::cli {

/// Values of all options of option_table(), by name without leading dashes and with '_' for '-': "scaling_mode", "report_quality".
/// Everything is checked when it exists: numbers parse completely and lie in their bounds, choices are of the list, sizes are sizes.
class Arguments {
 public:
  /// args: without the program's name. Only options of the conversion (a leading word "convert" is skipped).
  /// throws  Error(kUsage) "argument <option>: <what is wrong> (got '<value>')" for the first fault from left to right:
  ///         unknown option (with a near one), missing or bad value, an option that is not built yet, a stray word.
  static Arguments parse(const std::vector<std::string>& args);

  /// True when the option stands on the command line.
  bool given(std::string_view option) const;
  /// Switches.
  bool flag(std::string_view option) const;
  /// Text, choices, paths and patterns; empty when neither given nor defaulted.
  const std::string& text(std::string_view option) const;
  int64_t integer(std::string_view option) const;
  double number(std::string_view option) const;
  /// kBytes; 0 when not given.
  uint64_t bytes(std::string_view option) const;
  const std::vector<std::string>& list(std::string_view option) const;

 private:
  struct Value {
    bool given = false;
    std::vector<std::string> words;
  };
  const Value& value(std::string_view option) const;
  std::map<std::string, Value, std::less<>> values_;
};

/// Prints the page that the arguments ask for (-h, -hf, -he, -ha, -hl, -hm, -hlr, --help-json, --version, --list-filters) to standard
/// output and returns true; false when they ask for none. Looked at before anything else is parsed.
bool print_requested_page(const std::vector<std::string>& args);

}  // namespace ctq::cli
