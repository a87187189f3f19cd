#include "mode_switches.h"

#include <algorithm>

#include "base/error.h"
#include "spelling.h"
#include "value.h"

namespace ctq::cli {
namespace {

struct ModeSwitch {
  std::string_view option;
  std::vector<std::string> words;  ///< the command, and what stands behind it
};

const std::vector<ModeSwitch>& mode_switches() {
  static const std::vector<ModeSwitch> rows{
      {"--edit-quant", {"edit"}},
      {"--convert-fp8-scaled", {"migrate", "fp8-scaled"}},
      {"--convert-int8-scaled", {"migrate", "int8-scaled"}},
      {"--legacy_input_add", {"migrate", "add-input-scale"}},
      {"--cleanup-fp8-scaled", {"migrate", "cleanup-fp8"}},
      {"--make-hybrid-mxfp8", {"migrate", "hybrid-mxfp8"}},
      {"--actcal", {"calibrate", "--patch"}},
  };
  return rows;
}

/// The row that a word turns on; null for other words, and for --edit-quant=false.
const ModeSwitch* mode_switch(const std::string& word) {
  if (!looks_like_option(word)) return nullptr;
  const size_t equals = word.find('=');
  const Spelling* spelling = conversion_spellings().find(word.substr(0, equals));
  if (!spelling) return nullptr;
  const auto row =
      std::ranges::find(mode_switches(), std::string_view(spelling->option->name), &ModeSwitch::option);
  if (row == mode_switches().end()) return nullptr;
  const bool on = equals == std::string::npos || parse_switch(word.substr(equals + 1)).value_or(true);
  return on != spelling->negated ? &*row : nullptr;
}

}  // namespace

std::vector<std::string> without_mode_switch(const std::vector<std::string>& args) {
  const ModeSwitch* chosen = nullptr;
  std::vector<std::string> rest;
  const size_t first = !args.empty() && args[0] == "convert" ? 1 : 0;
  bool ended = false;
  for (size_t i = first; i < args.size(); ++i) {
    ended = ended || args[i] == "--";
    const bool said = i + 1 < args.size() && args[i].find('=') == std::string::npos && is_truth(args[i + 1]);
    const ModeSwitch* row = ended ? nullptr : mode_switch(said ? args[i] + "=" + args[i + 1] : args[i]);
    if (!row) {
      rest.push_back(args[i]);
      continue;
    }
    if (chosen && chosen != row)
      fail(ErrorCode::kUsage, "argument {}: does not go with {}", row->option, chosen->option);
    chosen = row;
    if (said) ++i;
  }
  if (!chosen) return args;
  rest.insert(rest.begin(), chosen->words.begin(), chosen->words.end());
  return rest;
}

}  // namespace ctq::cli
