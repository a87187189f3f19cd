#include <fmt/format.h>

#include "cli/commands/commands.h"
#include "cli/options/rows.h"
#include "scripts.h"

namespace ctq::cli {
namespace {

struct Asked {
  Setting<std::string> form{"for"};
};

Table make_table(Asked& asked) {
  Table table{.options = {},
              .words = "for",
              .usage =
                  "usage: convert_to_quant completion bash|zsh|fish|man\n\n"
                  "Prints what belongs into the shell's folder of completions, or into man1.\n"};
  add(table.options, Page::kStandard, "What to print",
      {choice(asked.form, "--for",
              "bash, zsh or fish: a script that completes commands, options and values; man: the man page; "
              "also without --for")
           .choose({"bash", "zsh", "fish", "man"})});
  add_help(table.options);
  return table;
}

}  // namespace

const Table& completion_table() { return shown_table(make_table); }

int run_completion(const std::vector<std::string>& args) {
  Asked asked;
  parse_into(asked, args, make_table);
  if (!asked.form.given()) engine::refuse_to_have(asked.form, "is required");
  fmt::print("{}", *asked.form == "bash"   ? completion::bash_script()
                   : *asked.form == "zsh"  ? completion::zsh_script()
                   : *asked.form == "fish" ? completion::fish_script()
                                           : completion::man_page());
  return 0;
}

}  // namespace ctq::cli
