#include <fmt/format.h>

#include "base/error.h"
#include "cli/options/rows.h"
#include "commands.h"
#include "ctq/engine/session.h"
#include "engine/calibration.h"
#include "report/calibration_report.h"
#include "safetensors/writer.h"

namespace ctq::cli {
namespace {

using Asked = engine::CalibrationSettings;

Table make_table(Asked& asked) {
  Table table{
      .options = {},
      .words = "input",
      .usage =
          "usage: convert_to_quant calibrate MODEL -o OUT [--activations FILE | --lora FILE] [options]\n"
          "       convert_to_quant calibrate MODEL --patch --calibration-data FILE [-o OUT] [options]\n"
          "       convert_to_quant calibrate --merge FILE... -o OUT [--rows N | --hessian]\n"
          "       convert_to_quant calibrate MODEL --enough --calibration-data FILE [--json]\n"
          "       convert_to_quant calibrate --list FILE [--json]\n\n"
          "Statistics of what the layers of a model read, for --calibration-data of a conversion.\n"};
  add(table.options, Page::kStandard, "Input and output",
      {
          path(asked.input, "--input",
               "The model, a file, an index of shards or a folder; also without --input")
              .alias("-i"),
          path(asked.output, "--output", "File to write: .safetensors, or .json for statistics alone")
              .alias("-o")
              .otherwise("with --patch <input stem>_calibrated.safetensors, else required"),
          path(asked.json, "--json",
               "JSON in place of safetensors; --json=PATH writes the input scales alone there")
              .value_optional(),
          toggle(asked.quiet, "--quiet", "Print only warnings and errors").alias("-q"),
      });
  add(table.options, Page::kStandard, "Instead of statistics for a model",
      {
          path(asked.list, "--list", "Print what is in a calibration file"),
          paths(asked.merge, "--merge", "Join calibration files of one model, or rewrite one"),
          toggle(asked.patch, "--patch", "Copy a quantized model with input scales for its layers"),
          toggle(asked.enough, "--enough",
                 "Print what each doubling of the recorded pictures brings, judged by others"),
      });
  add(table.options, Page::kStandard, "Where the statistics come from",
      {
          path(asked.activations, "--activations",
               "Rows that the layers have read: a calibration file, or one matrix per layer")
              .otherwise("random rows, which say nothing of the model"),
          path(asked.data, "--calibration-data",
               "With --patch: a calibration file, with rows or without; with --enough: one with rows"),
          toggle(asked.allow_random, "--allow-random-calibration",
                 "With --patch: use statistics of random rows too"),
          number(asked.percentile, "--percentile",
                 "Percentile of the magnitudes that sets the input scale; 100 is the largest")
              .alias("--actcal-percentile")
              .above(0)
              .at_most(100),
          integer(asked.samples, "--samples", "Random rows per layer")
              .alias("--actcal-samples")
              .at_least(1)
              .at_most(1 << 20),
          path(asked.lora, "--lora", "Take the A matrices of this LoRA in place of random rows")
              .alias("--actcal-lora"),
          integer(asked.seed, "--seed", "Seed of random rows, and of the choice of rows")
              .alias("--actcal-seed")
              .at_least(0)
              .at_most(4294967295),
      });
  add(table.options, Page::kStandard, "What is written of recorded rows",
      {
          integer(asked.rows, "--rows", "Keep this many rows of each input, chosen evenly")
              .alias("--thin")
              .at_least(1)
              .otherwise("all"),
          toggle(asked.hessian, "--hessian", "Write X^T X / n in place of the rows X"),
          device(asked.device, "--device", "With --hessian: where to calculate: auto, cpu, cuda or cuda:N")
              .alias("--actcal-device"),
      });
  add_help(table.options);
  return table;
}

/// To standard output, or to the path of --json.
void put(const Asked& asked, const std::string& text) {
  if (asked.json->empty()) {
    fmt::print("{}", text);
  } else {
    safetensors::write_text_file(asked.json->string(), text);
  }
}

void list(const Asked& asked) {
  const calibrate::CalibrationFile file = engine::open_listed(asked);
  put(asked, engine::naming(asked.list, [&] {
        return asked.json.given() ? report::calibration_json(file) : report::calibration_table(file);
      }));
}

void show_enough(const Asked& asked) {
  const pipeline::Enough enough = engine::measure_enough(asked);
  put(asked, asked.json.given() ? report::enough_json(enough) : report::enough_table(enough));
}

}  // namespace

const Table& calibrate_table() { return shown_table(make_table); }

int run_calibrate(const std::vector<std::string>& args) {
  Asked asked;
  parse_into(asked, args, make_table);
  const engine::CalibrationMode mode = engine::mode_of(asked);
  const bool lists = mode == engine::CalibrationMode::kList,
             measures = mode == engine::CalibrationMode::kEnough;
  engine::Session session(
      {.console = lists || measures ? engine::Console::kAllToStderr : engine::Console::kNotesToStdout,
       .least = *asked.quiet ? engine::LogLevel::kWarning : engine::LogLevel::kNote,
       .handle_signals = true});
  if (lists) {
    list(asked);
  } else if (measures) {
    show_enough(asked);
  } else {
    session.calibrate(asked);
  }
  return 0;
}

}  // namespace ctq::cli
