// The options of the command `compare`.
#include "cli/options/rows.h"

namespace ctq::cli {
namespace {

std::vector<Option> make_table() {
  std::vector<Option> table;
  add(table, Page::kStandard, "Input",
      {
          path("--original", "The unquantized file; also the first word").alias("--base").built(),
          paths("--quantized", "Quantized files; also the other words").built(),
          paths("--files", "The words").hide().built(),
          text("--layers-to-compare", "Comma list: layers whose name holds one of these")
              .otherwise("all")
              .built(),
          pattern("--filter", "Layers whose name matches").otherwise("all").built(),
      });
  add(table, Page::kStandard, "Report",
      {
          integer("--top-layers", "Worst layers to print").at_least(0).standard("10").built(),
          path("--output-report", "Write all layers and the totals there, as JSON").built(),
          number("--quality-threshold", "SQNR in dB below which a layer makes the exit code 3").built(),
      });
  add(table, Page::kStandard, "Running",
      {
          device("--device", "Where to calculate: auto, cpu, cuda or cuda:N").standard("auto").built(),
          toggle("--low-memory", "Hold one layer at a time; always so").alias("-lm").built(),
      });
  add(table, Page::kStandard, "Help", {toggle("--help", "Print this page and exit").alias("-h").built()});
  return table;
}

constexpr std::string_view kUsage =
    "usage: convert_to_quant compare ORIGINAL QUANTIZED... [options]\n\n"
    "The error of quantized files against their original, decoded as each file itself says.\n";

}  // namespace

const CommandOptions& compare_options() {
  static const std::vector<Option> table = make_table();
  static const CommandOptions options{table, "files", kUsage};
  return options;
}

}  // namespace ctq::cli
