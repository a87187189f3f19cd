// The options of the command `extract-lora`.
#include "cli/options/rows.h"

namespace ctq::cli {
namespace {

std::vector<Option> make_table() {
  std::vector<Option> table;
  add(table, Page::kStandard, "Files",
      {
          path("--input", "The original, unquantized model; also without --input").alias("-i").built(),
          path("--quantized", "The quantized file whose error is made up for").built(),
          path("--lora-output", "Adapter to write")
              .alias("-o")
              .alias("--output")
              .otherwise("<quantized stem>_lora.safetensors")
              .built(),
          toggle("--no-clobber", "Refuse to replace an existing output").built(),
          toggle("--quiet", "Print only warnings and errors").alias("-q").built(),
      });
  add(table, Page::kStandard, "The adapter", lora_rows());
  add(table, Page::kStandard, "Help", {toggle("--help", "Print this page and exit").alias("-h").built()});
  return table;
}

constexpr std::string_view kUsage =
    "usage: convert_to_quant extract-lora ORIGINAL --quantized FILE [-o OUT] [options]\n\n"
    "A LoRA of the difference between a model and its quantized file.\n";

}  // namespace

const CommandOptions& extract_lora_options() {
  static const std::vector<Option> table = make_table();
  static const CommandOptions options{table, "input", kUsage};
  return options;
}

}  // namespace ctq::cli
