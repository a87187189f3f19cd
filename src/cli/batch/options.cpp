#include "options.h"

#include "cli/commands/commands.h"
#include "cli/options/rows.h"

namespace ctq::cli::batch {

Table make_batch_table(BatchOptions& asked) {
  Table table{.options = {},
              .words = "inputs",
              .usage =
                  "usage: convert_to_quant batch FILE... [options] [options of the conversion]\n"
                  "       convert_to_quant batch --directory DIR [options] [options of the conversion]\n\n"
                  "Converts many files, each in a process of its own. Every option that is not on this page "
                  "is passed to\n"
                  "the conversion of each file (convert_to_quant --help).\n"};
  add(table.options, Page::kStandard, "Files",
      {
          paths(asked.inputs, "--inputs", "Models, or globs; also without --inputs")
              .alias("-i")
              .alias("--input"),
          path(asked.directory, "--directory", "Instead: every file of a folder that matches --pattern")
              .alias("-d"),
          text(asked.pattern, "--pattern", "With --directory: a glob; folders inside are not searched"),
          toggle(asked.include_quantized, "--include-quantized",
                 "Do not leave out files of a glob or folder that are quantized already"),
          path(asked.output_dir, "--output-dir", "Folder for the outputs").otherwise("beside each input"),
          toggle(asked.skip_finished, "--skip-finished",
                 "Leave out files whose output is whole and newer than what it is made from"),
      });
  add(table.options, Page::kStandard, "Running",
      {
          paths(asked.recipes, "--recipe",
                "One run of every file for each recipe: names, comma lists or .json files")
              .alias("--recipes"),
          integer(asked.jobs, "--jobs", "Files at a time; the cores are divided among them").at_least(1),
          toggle(asked.keep_going, "--keep-going", "Continue after a file that failed"),
          toggle(asked.dry_run, "--dry-run-batch", "Print the command line of each file, run nothing"),
          toggle(asked.yes, "--yes", "Do not ask before the first file").alias("-y"),
      });
  add(table.options, Page::kStandard, "LoRA merging",
      {
          path(asked.lora, "--merge-lora", "One LoRA for all files"),
          path(asked.lora_mapping, "--lora-mapping",
               "JSON: file name, or a word of it, to a LoRA or a list of them"),
          path(asked.lora_dir, "--lora-dir",
               "Folder with <model stem>.safetensors or <model stem>_lora.safetensors"),
          text(asked.lora_scale, "--merge-lora-scale", "Strength of the LoRAs"),
      });
  add(table.options, Page::kStandard, "Regression runs",
      {
          path(asked.expect, "--expect",
               "Compare every file's figures with this JSON; exit code 3 when one deviates"),
          path(asked.write_expect, "--write-expect", "Write the figures to this JSON"),
      });
  add_help(table.options);
  return table;
}

}  // namespace ctq::cli::batch

namespace ctq::cli {

const Table& batch_table() { return shown_table(batch::make_batch_table); }

}  // namespace ctq::cli
