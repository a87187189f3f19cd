#include "calibrate_options.h"

#include <algorithm>

#include "cli/options/rows.h"
#include "commands.h"

namespace ctq::cli {
namespace {

using Mode = CalibrateMode;
using Settings = std::vector<const engine::AnySetting*>;

/// What is asked for, and the settings that belong to it.
struct ModeRow {
  Mode mode;
  const engine::AnySetting* by;  ///< that asks for it; null: nothing does
  bool asked;
  Settings uses;
};

std::vector<ModeRow> modes_of(const CalibrateOptions& asked) {
  return {
      {Mode::kList, &asked.list, asked.list.given(), {&asked.list, &asked.json, &asked.quiet}},
      {Mode::kMerge,
       &asked.merge,
       asked.merge.given(),
       {&asked.merge, &asked.output, &asked.json, &asked.quiet, &asked.rows, &asked.seed, &asked.hessian}},
      {Mode::kPatch,
       &asked.patch,
       *asked.patch,
       {&asked.patch, &asked.input, &asked.output, &asked.json, &asked.quiet, &asked.activations, &asked.data,
        &asked.percentile}},
      {Mode::kGather,
       nullptr,
       false,
       {&asked.input, &asked.output, &asked.json, &asked.quiet, &asked.patch, &asked.activations,
        &asked.percentile, &asked.samples, &asked.seed, &asked.lora, &asked.rows, &asked.hessian,
        &asked.device}}};
}

}  // namespace

const Table& calibrate_table() { return shown_table(make_calibrate_table); }

Table make_calibrate_table(CalibrateOptions& asked) {
  Table table{
      .options = {},
      .words = "input",
      .usage =
          "usage: convert_to_quant calibrate MODEL -o OUT [--activations FILE | --lora FILE] [options]\n"
          "       convert_to_quant calibrate MODEL --patch --calibration-data FILE [-o OUT] [options]\n"
          "       convert_to_quant calibrate --merge FILE... -o OUT [--rows N | --hessian]\n"
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
      });
  add(table.options, Page::kStandard, "Where the statistics come from",
      {
          path(asked.activations, "--activations",
               "Rows that the layers have read: a calibration file, or one matrix per layer")
              .otherwise("random rows, which say nothing of the model"),
          path(asked.data, "--calibration-data", "With --patch: a calibration file, with rows or without"),
          number(asked.percentile, "--percentile",
                 "Percentile of the magnitudes that sets the input scale; 100 is the largest")
              .alias("--actcal-percentile")
              .above(0)
              .at_most(100),
          integer(asked.samples, "--samples", "Random rows per layer").at_least(1).at_most(1 << 20),
          path(asked.lora, "--lora", "Take the A matrices of this LoRA in place of random rows"),
          integer(asked.seed, "--seed", "Seed of random rows, and of the choice of rows")
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
          device(asked.device, "--device", "With --hessian: where to calculate: auto, cpu, cuda or cuda:N"),
      });
  add_help(table.options);
  return table;
}

CalibrateMode mode_of(const CalibrateOptions& asked) {
  const std::vector<ModeRow> rows = modes_of(asked);
  const ModeRow* chosen = &rows.back();
  for (const ModeRow& row : rows) {
    if (!row.asked) continue;
    if (chosen->asked) engine::refuse_to_have(*row.by, fmt::format("does not go with {}", *chosen->by));
    chosen = &row;
  }
  for (const ModeRow& row : rows) {
    for (const engine::AnySetting* setting : row.uses) {
      if (!setting->given() || std::ranges::find(chosen->uses, setting) != chosen->uses.end()) continue;
      engine::refuse_to_have(*setting, chosen->by ? fmt::format("does not go with {}", *chosen->by)
                                                  : fmt::format("goes with {}", asked.patch));
    }
  }
  return chosen->mode;
}

}  // namespace ctq::cli
