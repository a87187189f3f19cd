// bash and zsh: one `case` over the commands, in it one over the word before the cursor.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "scripts.h"
#include "vocabulary.h"

namespace ctq::cli::completion {
namespace {

/// For a single-quoted shell word.
std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result;
}

/// The spellings that take a value (of a shortcut the value is known), as a pattern of `case`.
std::string value_pattern(const Option& option) {
  std::vector<std::string> spellings{option.name};
  spellings.insert(spellings.end(), option.aliases.begin(), option.aliases.end());
  return fmt::format("{}", fmt::join(spellings, "|"));
}

/// "      --x|-y) value=...": what is offered behind each option.
std::string value_cases(const CommandWords& command) {
  std::string files, others, cases;
  const auto add = [](std::string& patterns, const Option& option) {
    patterns += (patterns.empty() ? "" : "|") + value_pattern(option);
  };
  for (const Option* option : command.options) {
    switch (behind(*option)) {
      case Behind::kNothing: break;
      case Behind::kFile: add(files, *option); break;
      case Behind::kAny: add(others, *option); break;
      case Behind::kChoice:
        cases += fmt::format("        {}) value='{}' ;;\n", value_pattern(*option),
                             fmt::join(choices_of(*option), " "));
    }
  }
  if (!files.empty()) cases += fmt::format("        {}) value=files ;;\n", files);
  if (!others.empty()) cases += fmt::format("        {}) value=any ;;\n", others);
  return cases;
}

/// What a word outside options is: "files", or its choices.
std::string outside(const CommandWords& command) {
  if (command.words == nullptr) return "";
  return behind(*command.words) == Behind::kFile
             ? "files"
             : fmt::format("{}", fmt::join(choices_of(*command.words), " "));
}

/// option_list(command) is the text of the array `options`.
template <typename OptionList>
std::string command_cases(OptionList&& option_list) {
  std::string text;
  for (const CommandWords& command : all_commands()) {
    text +=
        fmt::format("    {})\n      words='{}'\n      options=({})\n      case $prev in\n{}      esac ;;\n",
                    command.name, outside(command), option_list(command), value_cases(command));
  }
  return text;
}

std::string names() {
  std::vector<std::string_view> all;
  for (const CommandWords& command : all_commands()) all.push_back(command.name);
  return fmt::format("{}", fmt::join(all, " "));
}

}  // namespace

std::string bash_script() {
  const auto options = [](const CommandWords& command) {
    std::vector<std::string> all;
    for (const Option* option : command.options) {
      for (const std::string& spelling : spellings_of(*option)) all.push_back(spelling);
    }
    return fmt::format("{}", fmt::join(all, " "));
  };
  return fmt::format(R"(# bash completion for convert_to_quant; printed by `convert_to_quant completion bash`
_convert_to_quant() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}
  local commands='{0}' command=convert value= words= options=()
  # '=' is a word of its own for bash.
  if [[ $cur == '=' ]]; then cur=
  elif [[ $prev == '=' ]]; then prev=${{COMP_WORDS[COMP_CWORD-2]}}
  fi
  [[ $COMP_CWORD -gt 1 && " $commands " == *" ${{COMP_WORDS[1]}} "* ]] && command=${{COMP_WORDS[1]}}
  case $command in
{1}  esac
  if [[ -z $value && $cur == -* ]]; then value=${{options[*]}}
  elif [[ -z $value ]]; then
    value=$words
    [[ $COMP_CWORD -eq 1 ]] && value=$commands
  fi
  case $value in
    any|'') COMPREPLY=() ;;
    files)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$value" -- "$cur") ;;
  esac
}}
complete -F _convert_to_quant convert_to_quant
)",
                     names(), command_cases(options));
}

std::string zsh_script() {
  const auto options = [](const CommandWords& command) {
    std::string all;
    for (const Option* option : command.options) {
      for (const std::string& spelling : spellings_of(*option))
        all += fmt::format("\n        '{}:{}'", spelling, escaped(option->help));
    }
    return all;
  };
  std::string described;
  for (const CommandWords& command : all_commands())
    described += fmt::format("\n    '{}:{}'", command.name, escaped(command.help));
  return fmt::format(R"(#compdef convert_to_quant
# zsh completion for convert_to_quant; printed by `convert_to_quant completion zsh`
_convert_to_quant() {{
  local cur=${{words[CURRENT]}} prev=${{words[CURRENT-1]}} command=convert value=
  local -a commands options
  commands=({1}
  )
  # --option=value: the option is the word before.
  if [[ $cur == --*=* ]]; then
    prev=${{cur%%=*}}
    compset -P '*='
  fi
  (( CURRENT > 2 )) && [[ " {0} " == *" ${{words[2]}} "* ]] && command=${{words[2]}}
  local -h words=
  case $command in
{2}  esac
  if [[ -z $value && $cur == -* ]]; then
    _describe -o option options
    return
  fi
  if [[ -z $value ]]; then
    if (( CURRENT == 2 )); then
      _describe command commands
      return
    fi
    value=$words
  fi
  case $value in
    any|'') return 1 ;;
    files) _files ;;
    *) compadd -- ${{=value}} ;;
  esac
}}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _convert_to_quant "$@"
else
  compdef _convert_to_quant convert_to_quant
fi
)",
                     names(), described, command_cases(options));
}

}  // namespace ctq::cli::completion
