#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/version.h"
#include "cli/options/environment.h"
#include "cli/options/spelling.h"
#include "scripts.h"
#include "vocabulary.h"

namespace ctq::cli::completion {
namespace {

std::string roff(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\') {
      result += "\\e";
    } else if (c == '-') {
      result += "\\-";
    } else {
      result += c;
    }
  }
  const bool control = result.starts_with('.') || result.starts_with('\'');
  return control ? "\\&" + result : result;
}

std::string value_word(const Option& option) {
  switch (option.kind) {
    case Kind::kSwitch: return "";
    case Kind::kInteger:
    case Kind::kNumber: return " NUMBER";
    case Kind::kPath: return " PATH";
    case Kind::kPathList: return " PATH...";
    case Kind::kBytes: return " SIZE";
    case Kind::kDuration: return " DURATION";
    case Kind::kPattern: return " REGEX";
    case Kind::kDevice: return " DEVICE";
    case Kind::kChoice: return " WORD";
    case Kind::kText: return " TEXT";
  }
  return "";
}

std::string option_entry(const Option& option) {
  std::string text =
      fmt::format(".TP\n\\fB{}\\fR{}\n{}", roff(fmt::format("{}", fmt::join(all_spellings(option), ", "))),
                  roff(value_word(option)), roff(option.help));
  if (!option.choices.empty()) text += roff(fmt::format(". One of {}", fmt::join(option.choices, ", ")));
  const std::string& standard = option.default_note.empty() ? option.default_text : option.default_note;
  const bool silent = standard.empty() || (option.kind == Kind::kSwitch && standard == "off");
  return text + (silent ? ".\n" : roff(fmt::format(". Default: {}.", standard)) + "\n");
}

/// The options under their headings.
std::string option_entries(const std::vector<const Option*>& options) {
  std::string text;
  std::string_view group;
  for (const Option* option : options) {
    if (option->group != group) text += fmt::format(".SS {}\n", roff(option->group));
    group = option->group;
    text += option_entry(*option);
  }
  return text;
}

std::string upper(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return result;
}

std::string command_sections() {
  std::string text;
  for (const CommandWords& command : all_commands()) {
    if (command.name == "analyze") continue;  // the conversion's options
    std::vector<const Option*> options;
    for (const Option* option : command.options) {
      const Table* own = command_table(command.name);
      const bool of_it =
          !own || (option >= own->options.data() && option < own->options.data() + own->options.size());
      if (of_it) options.push_back(option);
    }
    text += fmt::format(".SH {}\n",
                        command.name == "convert" ? "OPTIONS" : "OPTIONS OF " + roff(upper(command.name)));
    text += option_entries(options);
  }
  return text;
}

}  // namespace

std::string man_page() {
  std::string text = fmt::format(
      ".TH CONVERT_TO_QUANT 1 \"\" \"convert_to_quant {}\"\n.SH NAME\nconvert_to_quant \\- quantize "
      "safetensors "
      "checkpoints\n.SH SYNOPSIS\n.B convert_to_quant\n[convert] \\-i IN [\\-o OUT] [options]\n.br\n.B "
      "convert_to_quant\nCOMMAND [options]\n.SH DESCRIPTION\nTurns checkpoints of diffusion models and text "
      "encoders "
      "into quantized ones for ComfyUI: INT8 unless another target is named.\nSwitches are written \\-\\-x, "
      "\\-\\-no\\-x, \\-\\-x=true or \\-\\-x=false; \\- and _ in names are the same.\n.SH COMMANDS\n",
      roff(version()));
  for (const CommandWords& command : all_commands())
    text += fmt::format(".TP\n\\fB{}\\fR\n{}.\n", roff(command.name), roff(command.help));
  text += command_sections();
  text += ".SH ENVIRONMENT\n";
  for (const EnvironmentVariable& variable : environment_variables())
    text += fmt::format(".TP\n\\fB{}\\fR\nValue of {} where the command line has none.\n", variable.name,
                        roff(variable.option));
  return text +
         ".SH EXIT STATUS\n.TP\n0\nDone.\n.TP\n1\nConverting or writing failed.\n.TP\n2\nThe command line is "
         "wrong.\n"
         ".TP\n3\nA quality threshold or an expectation is not met.\n.TP\n4\nAn input file is missing or "
         "broken.\n"
         ".TP\n130, 143\nInterrupted by SIGINT or SIGTERM.\n";
}

}  // namespace ctq::cli::completion
