// The options of the command `completion`.
#include "cli/options/rows.h"

namespace ctq::cli {
namespace {

std::vector<Option> make_table() {
  std::vector<Option> table;
  add(table, Page::kStandard, "What to print",
      {choice("--for",
              "bash, zsh or fish: a script that completes commands, options and values; man: the man page; "
              "also without --for")
           .choose({"bash", "zsh", "fish", "man"})
           .built()});
  add(table, Page::kStandard, "Help", {toggle("--help", "Print this page and exit").alias("-h").built()});
  return table;
}

constexpr std::string_view kUsage =
    "usage: convert_to_quant completion bash|zsh|fish|man\n\n"
    "Prints what belongs into the shell's folder of completions, or into man1.\n";

}  // namespace

const CommandOptions& completion_options() {
  static const std::vector<Option> table = make_table();
  static const CommandOptions options{table, "for", kUsage};
  return options;
}

}  // namespace ctq::cli
