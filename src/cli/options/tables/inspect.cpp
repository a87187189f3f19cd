// The options of the command `inspect`.
#include "cli/options/rows.h"

namespace ctq::cli {
namespace {

std::vector<Option> make_table() {
  std::vector<Option> table;
  add(table, Page::kStandard, "Input",
      {
          path("--input", "A file, an index of shards or a folder; also without --input").alias("-i").built(),
          pattern("--filter", "Print only tensors and layers whose name matches").otherwise("all").built(),
      });
  add(table, Page::kStandard, "What to print",
      {
          toggle("--tensors", "One line per tensor: name, type, shape, bytes").standard("on").built(),
          toggle("--layers", "One line per quantized layer: format, scales, flags").built(),
          toggle("--metadata", "The header's metadata, long values cut").built(),
          toggle("--summary", "Totals by type and format, and the model family").standard("on").built(),
          toggle("--check",
                 "Also look for missing scales, wrong shapes and broken markers; exit code 4 if any")
              .built(),
          toggle("--json", "Print one JSON object instead").built(),
      });
  add(table, Page::kStandard, "Help", {toggle("--help", "Print this page and exit").alias("-h").built()});
  return table;
}

constexpr std::string_view kUsage =
    "usage: convert_to_quant inspect FILE [options]\n\n"
    "What is in a checkpoint, from its headers and markers.\n";

}  // namespace

const CommandOptions& inspect_options() {
  static const std::vector<Option> table = make_table();
  static const CommandOptions options{table, "input", kUsage};
  return options;
}

}  // namespace ctq::cli
