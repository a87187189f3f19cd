// The options of the command `dequantize`.
#include "cli/options/rows.h"

namespace ctq::cli {
namespace {

std::vector<Option> make_table() {
  std::vector<Option> table;
  add(table, Page::kStandard, "Files",
      {
          path("--input", "The quantized file; also without --input").alias("-i").built(),
          path("--output", "File to write")
              .alias("-o")
              .otherwise("<input stem>_dequantized.safetensors")
              .built(),
          toggle("--no-clobber", "Refuse to replace an existing output").built(),
          choice("--dtype", "Type of the decoded weights")
              .choose({"f32", "f16", "bf16"})
              .otherwise("what the layer's marker says it had, else bf16")
              .built(),
          toggle("--quiet", "Print only warnings and errors").alias("-q").built(),
      });
  add(table, Page::kStandard, "Help", {toggle("--help", "Print this page and exit").alias("-h").built()});
  return table;
}

constexpr std::string_view kUsage =
    "usage: convert_to_quant dequantize FILE [-o OUT] [--dtype f32|f16|bf16]\n\n"
    "Plain weights from a quantized file, decoded with its own scales.\n";

}  // namespace

const CommandOptions& dequantize_options() {
  static const std::vector<Option> table = make_table();
  static const CommandOptions options{table, "input", kUsage};
  return options;
}

}  // namespace ctq::cli
