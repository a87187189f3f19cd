#include "cli/run.h"

#include <exception>
#include <map>
#include <string_view>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/commands/commands.h"
#include "cli/conversion/conversion.h"
#include "cli/options/arguments.h"
#include "cli/options/help_pages.h"
#include "cli/options/mode_switches.h"
#include "safetensors/reader.h"

namespace ctq::cli {
namespace {

/// Commands other than the conversion.
const std::map<std::string_view, int (*)(const std::vector<std::string>& args)> kCommands{
    {"calibrate", run_calibrate},   {"inspect", run_inspect},
    {"verify", run_verify},         {"compare", run_compare},
    {"dequantize", run_dequantize}, {"edit", run_edit},
    {"migrate", run_migrate},       {"extract-lora", run_extract_lora},
    {"clip-g", run_clip_g},         {"fp8", run_fp8},
    {"batch", run_batch},           {"completion", run_completion},
    {"assemble", run_assemble},
};

}  // namespace

namespace {

/// What an older program called its command.
std::vector<std::string> with_present_name(std::vector<std::string> words) {
  if (!words.empty() && words[0] == "calibrate_activation_scales") words[0] = "calibrate";
  return words;
}

int run_words(const std::vector<std::string>& given) {
  const std::vector<std::string> words = with_present_name(given);
  if (words.empty()) {
    print_requested_page({"--help"});
    return static_cast<int>(ErrorCode::kUsage);
  }
  if (print_requested_page(words)) return 0;
  check_command(words);
  const std::vector<std::string> args =
      kCommands.contains(words.empty() ? "" : words[0]) ? words : without_mode_switch(words);
  if (const auto command = args.empty() ? kCommands.end() : kCommands.find(args[0]);
      command != kCommands.end())
    return command->second({args.begin() + 1, args.end()});
  return run_convert(args);
}

}  // namespace

int run(const std::vector<std::string>& words) {
  int code = 0;
  try {
    code = run_words(words);
  } catch (const std::exception&) {
    safetensors::check_inputs();  // whatever came of an input that was taken away, that is the reason
    throw;
  }
  safetensors::check_inputs();
  return code;
}

}  // namespace ctq::cli
