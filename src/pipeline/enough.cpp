#include "pipeline/enough.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>

#include <ATen/ATen.h>

#include "base/cancel.h"
#include "calibration_trial.h"
#include "plan/target.h"

namespace ctq::pipeline {
namespace {

constexpr size_t kMostLayers = 64;
constexpr int64_t kFewestPictures = 4;

/// Error against round to nearest by the number of pictures.
using Curve = std::map<int64_t, double>;

std::vector<int64_t> counts_up_to(int64_t most) {
  std::vector<int64_t> counts;
  for (int64_t count = 1; count < most; count *= 2) counts.push_back(count);
  counts.push_back(most);
  return counts;
}

/// Nothing where no pictures are told apart, or the format does not hold the weight.
std::optional<Curve> curve_of(const model::Checkpoint::Entry& entry, const calibrate::Recording& recording,
                              int64_t& judges) {
  const auto input = recording.load(entry.layer(), at::kCPU);
  if (!input || input->rows.grouped_by != calibrate::GroupedBy::kPicture) return std::nullopt;
  const calibrate::InputRows& rows = input->rows;
  if (rows.group_count < kFewestPictures) return std::nullopt;
  const int64_t held = (rows.group_count + 3) / 4, others = rows.group_count - held;
  const at::Tensor weight = model::load(entry);
  const auto nearest = format::encode_nearest(*plan::codec_of_type("fp8", ""), weight, /*block_size=*/0);
  if (!nearest) return std::nullopt;
  optimize::Settings settings;
  settings.optimizer = &optimize::kAuto;
  HeldBack set = rows_at(rows, rows.groups.ge(others).nonzero().squeeze(1));
  Curve curve;
  for (const int64_t count : counts_up_to(others)) {
    throw_if_cancelled();
    set.second = calibrate::input_moment(rows, rows.groups.lt(count).nonzero().squeeze(1));
    const CalibrationTrial trial({.nearest = *nearest, .weight = weight, .settings = settings},
                                 {.held_back = {&set, 1}, .mean = input->mean, .implied = {}}, kTriedRows);
    if (!(trial.nearest() > 0)) return std::nullopt;
    curve[count] = trial.of({.lambda = settings.recorded_lambda}) / trial.nearest();
  }
  judges = std::max(judges, held);
  return curve;
}

}  // namespace

Enough measure_enough(const model::Checkpoint& checkpoint, const calibrate::Recording& recording) {
  std::vector<const model::Checkpoint::Entry*> weights;
  for (const model::Checkpoint::Entry& entry : checkpoint.entries()) {
    if (entry.is_matrix() && !recording.key(entry.layer()).empty()) weights.push_back(&entry);
  }
  Enough enough;
  struct Sum {
    double logs = 0;
    size_t layers = 0, worse = 0;
  };
  std::map<int64_t, Sum> sums;
  const size_t chosen = std::min(weights.size(), kMostLayers);
  for (size_t i = 0; i < chosen; ++i) {
    const model::Checkpoint::Entry& entry = *weights[i * weights.size() / chosen];
    const auto curve =
        entry.info->shape[1] > kWidestTried ? std::nullopt : curve_of(entry, recording, enough.judges);
    if (!curve) {
      ++enough.left_out;
      continue;
    }
    ++enough.layers;
    for (const auto& [pictures, ratio] : *curve) {
      Sum& sum = sums[pictures];
      sum.logs += std::log(std::max(ratio, 1e-6));
      ++sum.layers;
      sum.worse += ratio > 1;
    }
  }
  // Layers that saw fewer pictures have fewer points: what few of them have would not compare.
  for (const auto& [pictures, sum] : sums) {
    if (2 * sum.layers >= enough.layers)
      enough.points.push_back({pictures, std::exp(sum.logs / static_cast<double>(sum.layers)), sum.worse});
  }
  return enough;
}

}  // namespace ctq::pipeline
