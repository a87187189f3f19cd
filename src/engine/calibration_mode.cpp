#include <algorithm>

#include "ctq/engine/calibration.h"

namespace ctq::engine {
namespace {

using Mode = CalibrationMode;
using Settings = std::vector<const AnySetting*>;

/// What is asked for, and the settings that belong to it.
struct ModeRow {
  Mode mode;
  const AnySetting* by;  ///< that asks for it; null: nothing does
  bool asked;
  Settings uses;
};

std::vector<ModeRow> modes_of(const CalibrationSettings& asked) {
  return {
      {Mode::kList, &asked.list, asked.list.given(), {&asked.list, &asked.json}},
      {Mode::kMerge,
       &asked.merge,
       asked.merge.given(),
       {&asked.merge, &asked.output, &asked.json, &asked.quiet, &asked.rows, &asked.seed, &asked.hessian}},
      {Mode::kPatch,
       &asked.patch,
       *asked.patch,
       {&asked.patch, &asked.input, &asked.output, &asked.json, &asked.quiet, &asked.activations, &asked.data,
        &asked.allow_random, &asked.percentile, &asked.samples, &asked.seed, &asked.lora, &asked.device}},
      {Mode::kEnough, &asked.enough, *asked.enough, {&asked.enough, &asked.input, &asked.json, &asked.data}},
      {Mode::kGather,
       nullptr,
       false,
       {&asked.input, &asked.output, &asked.json, &asked.quiet, &asked.patch, &asked.activations,
        &asked.percentile, &asked.samples, &asked.seed, &asked.lora, &asked.rows, &asked.hessian,
        &asked.device}}};
}

}  // namespace

CalibrationMode mode_of(const CalibrationSettings& asked) {
  const std::vector<ModeRow> rows = modes_of(asked);
  const ModeRow* chosen = &rows.back();
  for (const ModeRow& row : rows) {
    if (!row.asked) continue;
    if (chosen->asked) refuse_to_have(*row.by, fmt::format("does not go with {}", *chosen->by));
    chosen = &row;
  }
  for (const ModeRow& row : rows) {
    for (const AnySetting* setting : row.uses) {
      if (!setting->given() || std::ranges::find(chosen->uses, setting) != chosen->uses.end()) continue;
      refuse_to_have(*setting, chosen->by ? fmt::format("does not go with {}", *chosen->by)
                                          : fmt::format("goes with {}", asked.patch));
    }
  }
  return chosen->mode;
}

}  // namespace ctq::engine
