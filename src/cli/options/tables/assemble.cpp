// The options of the command `assemble`.
#include "cli/options/rows.h"

namespace ctq::cli {
namespace {

std::vector<Option> make_table() {
  std::vector<Option> table;
  add(table, Page::kStandard, "Files",
      {
          paths("--input", "The parts, in any order; also without --input").alias("-i").built(),
          path("--output", "File to write").alias("-o").built(),
          toggle("--no-clobber", "Refuse to replace an existing output").built(),
          toggle("--quiet", "Print only warnings and errors").alias("-q").built(),
      });
  add(table, Page::kStandard, "Help", {toggle("--help", "Print this page and exit").alias("-h").built()});
  return table;
}

constexpr std::string_view kUsage =
    "usage: convert_to_quant assemble PART... -o OUT\n\n"
    "Joins the parts of one plan that --partition wrote: the bytes that a single run writes.\n";

}  // namespace

const CommandOptions& assemble_options() {
  static const std::vector<Option> table = make_table();
  static const CommandOptions options{table, "input", kUsage};
  return options;
}

}  // namespace ctq::cli
