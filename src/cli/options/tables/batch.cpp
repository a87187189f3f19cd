// The options of the command `batch`; all others are the conversion's.
#include "cli/options/rows.h"

namespace ctq::cli {
namespace {

std::vector<Option> make_table() {
  std::vector<Option> table;
  add(table, Page::kStandard, "Files",
      {
          paths("--inputs", "Models, or globs; also without --inputs").alias("-i").alias("--input").built(),
          path("--directory", "Instead: every file of a folder that matches --pattern").alias("-d").built(),
          text("--pattern", "With --directory: a glob; folders inside are not searched")
              .standard("*.safetensors")
              .built(),
          toggle("--include-quantized",
                 "Do not leave out files of a glob or folder that are quantized already")
              .built(),
          path("--output-dir", "Folder for the outputs").otherwise("beside each input").built(),
          toggle("--skip-finished",
                 "Leave out files whose output is whole and newer than what it is made from")
              .standard("on")
              .built(),
      });
  add(table, Page::kStandard, "Running",
      {
          paths("--recipe", "One run of every file for each recipe: names, comma lists or .json files")
              .alias("--recipes")
              .built(),
          integer("--jobs", "Files at a time; the cores are divided among them")
              .at_least(1)
              .standard("1")
              .built(),
          toggle("--keep-going", "Continue after a file that failed").standard("on").built(),
          toggle("--dry-run-batch", "Print the command line of each file, run nothing").built(),
          toggle("--yes", "Do not ask before the first file").alias("-y").built(),
      });
  add(table, Page::kStandard, "LoRA merging",
      {
          path("--merge-lora", "One LoRA for all files").built(),
          path("--lora-mapping", "JSON: file name, or a word of it, to a LoRA or a list of them").built(),
          path("--lora-dir", "Folder with <model stem>.safetensors or <model stem>_lora.safetensors").built(),
          text("--merge-lora-scale", "Strength of the LoRAs").standard("1.0").built(),
      });
  add(table, Page::kStandard, "Regression runs",
      {
          path("--expect", "Compare every file's figures with this JSON; exit code 3 when one deviates")
              .built(),
          path("--write-expect", "Write the figures to this JSON").built(),
      });
  add(table, Page::kStandard, "Help", {toggle("--help", "Print this page and exit").alias("-h").built()});
  return table;
}

constexpr std::string_view kUsage =
    "usage: convert_to_quant batch FILE... [options] [options of the conversion]\n"
    "       convert_to_quant batch --directory DIR [options] [options of the conversion]\n\n"
    "Converts many files, each in a process of its own. Every option that is not on this page is passed to\n"
    "the conversion of each file (convert_to_quant --help).\n";

}  // namespace

const CommandOptions& batch_options() {
  static const std::vector<Option> table = make_table();
  static const CommandOptions options{table, "inputs", kUsage};
  return options;
}

}  // namespace ctq::cli
