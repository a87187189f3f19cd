#include "file_option.h"

#include "base/error.h"
#include "base/text.h"
#include "spelling.h"
#include "value.h"

namespace ctq::cli {
namespace {

[[noreturn]] void refuse(std::string_view name, std::string_view fact) {
  fail(ErrorCode::kUsage, "'{}' {}", printable(name), fact);
}

/// Switches that print a page or stand for a command: they are looked for before any file is read.
bool is_for_the_command_line(const Option& option) {
  return option.kind == Kind::kSwitch &&
         (option.page == Page::kModes || option.group == "Help" || option.name.starts_with("--list-"));
}

}  // namespace

FileOption option_of_file(const std::string& name, const std::string& value) {
  const Spelling* spelling = conversion_spellings().find("--" + name);
  if (spelling == nullptr || spelling->negated || !spelling->implied.empty()) {
    const std::string_view near = conversion_spellings().nearest("--" + name);
    refuse(name,
           near.empty() ? "is no option" : fmt::format("is no option; did you mean '{}'?", near.substr(2)));
  }
  const Option& option = *spelling->option;
  if (is_for_the_command_line(option)) refuse(name, "is for the command line");
  if (const auto fault = value_fault(option, value))
    refuse(name, fmt::format("{} (got '{}')", *fault, printable(value)));
  const bool is_switch = option.kind == Kind::kSwitch;
  return {&option, option.key(), is_switch ? (*parse_switch(value) ? "true" : "false") : value};
}

}  // namespace ctq::cli
