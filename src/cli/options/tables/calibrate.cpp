// The options of the command `calibrate`.
#include "cli/options/rows.h"

namespace ctq::cli {
namespace {

std::vector<Option> make_table() {
  std::vector<Option> table;
  add(table, Page::kStandard, "Input and output",
      {
          path("--input", "The model, a file, an index of shards or a folder; also without --input")
              .alias("-i")
              .built(),
          path("--output", "File to write: .safetensors, or .json for statistics alone")
              .alias("-o")
              .otherwise("with --patch <input stem>_calibrated.safetensors, else required")
              .built(),
          path("--json", "JSON in place of safetensors; --json=PATH writes the input scales alone there")
              .value_optional()
              .built(),
          toggle("--quiet", "Print only warnings and errors").alias("-q").built(),
      });
  add(table, Page::kStandard, "Instead of statistics for a model",
      {
          path("--list", "Print what is in a calibration file").built(),
          paths("--merge", "Join calibration files of one model, or rewrite one").built(),
          toggle("--patch", "Copy a quantized model with input scales for its layers").built(),
      });
  add(table, Page::kStandard, "Where the statistics come from",
      {
          path("--activations", "Rows that the layers have read: a calibration file, or one matrix per layer")
              .otherwise("random rows, which say nothing of the model")
              .built(),
          path("--calibration-data", "With --patch: a calibration file, with rows or without").built(),
          number("--percentile", "Percentile of the magnitudes that sets the input scale; 100 is the largest")
              .alias("--actcal-percentile")
              .above(0)
              .at_most(100)
              .standard("99.9")
              .built(),
          integer("--samples", "Random rows per layer").at_least(1).at_most(1 << 20).standard("64").built(),
          path("--lora", "Take the A matrices of this LoRA in place of random rows").built(),
          integer("--seed", "Seed of random rows, and of the choice of rows")
              .at_least(0)
              .at_most(4294967295)
              .standard("42")
              .built(),
      });
  add(table, Page::kStandard, "What is written of recorded rows",
      {
          integer("--rows", "Keep this many rows of each input, chosen evenly")
              .alias("--thin")
              .at_least(1)
              .otherwise("all")
              .built(),
          toggle("--hessian", "Write X^T X / n in place of the rows X").built(),
          device("--device", "With --hessian: where to calculate: auto, cpu, cuda or cuda:N")
              .standard("auto")
              .built(),
      });
  add(table, Page::kStandard, "Help", {toggle("--help", "Print this page and exit").alias("-h").built()});
  return table;
}

constexpr std::string_view kUsage =
    "usage: convert_to_quant calibrate MODEL -o OUT [--activations FILE | --lora FILE] [options]\n"
    "       convert_to_quant calibrate MODEL --patch --calibration-data FILE [-o OUT] [options]\n"
    "       convert_to_quant calibrate --merge FILE... -o OUT [--rows N | --hessian]\n"
    "       convert_to_quant calibrate --list FILE [--json]\n\n"
    "Statistics of what the layers of a model read, for --calibration-data of a conversion.\n";

}  // namespace

const CommandOptions& calibrate_options() {
  static const std::vector<Option> table = make_table();
  static const CommandOptions options{table, "input", kUsage};
  return options;
}

}  // namespace ctq::cli
