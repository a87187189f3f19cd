#include "completion_command.h"

#include <fmt/format.h>

#include "cli/command_input.h"
#include "ctq/cli/option_table.h"
#include "scripts.h"

namespace ctq::cli {

int run_completion(const std::vector<std::string>& args) {
  const Arguments arguments = Arguments::parse(args, *command_options("completion"));
  const std::string& form = required(arguments, "for");
  fmt::print("{}", form == "bash"   ? completion::bash_script()
                   : form == "zsh"  ? completion::zsh_script()
                   : form == "fish" ? completion::fish_script()
                                    : completion::man_page());
  return 0;
}

}  // namespace ctq::cli
