#include "calibrate/recorded.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <ATen/ATen.h>

#include "base/log.h"
#include "base/text.h"
#include "calibrate/gather.h"
#include "linalg/tiles.h"

namespace ctq::calibrate {
namespace {

using CheckpointEntry = model::Checkpoint::Entry;

constexpr int64_t kHoldBackEvery = 10;

at::Tensor load_float(const CheckpointEntry* entry, at::Device device) {
  return entry ? model::load(*entry).to(device).to(at::kFloat) : at::Tensor();
}

at::Tensor stored_channel_max(const CalibrationFile::Entry& entry, at::Device device) {
  if (entry.json_channel_max.empty()) return load_float(entry.channel_max, device);
  return at::tensor(entry.json_channel_max, at::kDouble).to(device).to(at::kFloat);
}

}  // namespace

Recording::Recording(CalibrationFile file, MatchedLayers layers)
    : file_(std::move(file)), layers_(std::move(layers)) {}

Recording Recording::open(const std::string& path, const model::Checkpoint& checkpoint) {
  CalibrationFile file = CalibrationFile::open(path);
  MatchedLayers layers = file.match(checkpoint);
  return {std::move(file), std::move(layers)};
}

size_t Recording::random() const {
  return static_cast<size_t>(std::ranges::count_if(
      layers_.owners, [&](const auto& layer) { return file_.origin(layer.second) == Origin::kRandom; }));
}

void Recording::leave_out_random() {
  std::erase_if(layers_.owners,
                [&](const auto& layer) { return file_.origin(layer.second) == Origin::kRandom; });
}

bool Recording::knows_moments() const {
  return std::ranges::any_of(layers_.owners, [&](const auto& layer) {
    return has_second_moment(layer.first) || find(layer.first)->mean != nullptr;
  });
}

const CalibrationFile::Entry* Recording::find(std::string_view layer) const {
  const auto found = layers_.owners.find(layer);
  return found == layers_.owners.end() ? nullptr : &file_.entries().find(found->second)->second;
}

std::vector<const CalibrationFile::Entry*> Recording::inputs(std::string_view layer) const {
  std::vector<const CalibrationFile::Entry*> found;
  if (!find(layer)) return found;
  for (const std::string& input : layers_.inputs(layer))
    found.push_back(&file_.entries().find(input)->second);
  return found;
}

bool Recording::has_second_moment(std::string_view layer) const {
  const CalibrationFile::Entry* entry = find(layer);
  if (!entry) return false;
  return entry->hessian || entry->second_moment || entry->stored_rows() > 0;
}

bool Recording::has_channel_max(std::string_view layer) const {
  return std::ranges::any_of(inputs(layer), [](const CalibrationFile::Entry* entry) {
    return entry->channel_max || !entry->json_channel_max.empty() || entry->stored_rows() > 0;
  });
}

int64_t Recording::stored_rows(std::string_view layer) const {
  const CalibrationFile::Entry* entry = find(layer);
  return entry ? entry->stored_rows() : 0;
}

bool Recording::is_of_rows(std::string_view layer) const {
  const CalibrationFile::Entry* entry = find(layer);
  return entry && !entry->hessian && entry->stored_rows() > 0;
}

bool Recording::has_diagonal(std::string_view layer) const {
  return is_of_rows(layer) && find(layer)->second_moment != nullptr;
}

std::string Recording::key(std::string_view layer) const {
  const auto found = layers_.owners.find(layer);
  return found == layers_.owners.end() ? std::string() : found->second;
}

std::optional<double> Recording::input_scale(std::string_view layer) const {
  std::optional<double> largest;
  for (const CalibrationFile::Entry* entry : inputs(layer)) {
    const auto scale = entry->input_scale
                           ? std::optional(model::load(*entry->input_scale).to(at::kDouble).item<double>())
                           : entry->json_input_scale;
    if (scale) largest = std::max(largest.value_or(*scale), *scale);
  }
  return largest;
}

std::optional<double> Recording::input_magnitude(std::string_view layer) const {
  if (!find(layer)) return std::nullopt;
  if (const auto scale = input_scale(layer); scale && std::isfinite(*scale) && *scale > 0)
    return *scale * kInputScaleCode;
  return calibrate::input_magnitude(file_, layers_.inputs(layer), /*percentile=*/100);
}

at::Tensor RecordedInput::held_back() const {
  const std::vector<at::Tensor> sets = held_back_sets(rows, kHoldBackEvery, /*most=*/1);
  return sets.empty() ? at::empty({0}, at::kLong) : sets.front();
}

std::optional<RecordedInput> Recording::load(std::string_view layer, at::Device device) const {
  const CalibrationFile::Entry* entry = find(layer);
  if (!entry) return std::nullopt;
  RecordedInput input;
  input.mean = load_float(entry->mean, device);
  for (const CalibrationFile::Entry* of_rows : inputs(layer)) {
    const at::Tensor largest = stored_channel_max(*of_rows, device);
    if (!largest.defined()) continue;
    input.channel_max = input.channel_max.defined() ? at::maximum(input.channel_max, largest) : largest;
  }
  at::Tensor second = load_float(entry->hessian, device);
  if (entry->stored_rows() > 0) {
    input.rows = distinct_rows(calibrate::stored_rows(*entry->rows), row_origins(*entry), device);
    if (input.rows.left_out > 0)
      warn("calibration data of '{}': {} of {} rows hold NaN or infinite values and are left out",
           printable(layer), input.rows.left_out, entry->stored_rows());
    if (input.rows.any()) {
      if (!entry->hessian || !input.mean.defined()) input.mean = mean_of(input.rows);
      if (!input.channel_max.defined()) input.channel_max = input.rows.rows.abs().amax(0);
    }
  }
  const bool diagonal = !second.defined() && entry->second_moment;
  if (diagonal) input.diagonal = load_float(entry->second_moment, device);
  for (at::Tensor* statistic : {&second, &input.diagonal, &input.mean, &input.channel_max}) {
    if (!statistic->defined() || linalg::extent(*statistic).finite()) continue;
    warn("calibration data of '{}' hold values that are not finite and are not used", printable(layer));
    return std::nullopt;
  }
  if (second.defined()) input.second = second;
  if (diagonal && !input.rows.any()) {
    input.second = {input.diagonal, at::empty({0, input.diagonal.size(0)}, input.diagonal.options())};
    input.diagonal = at::Tensor();
  }
  return input;
}

}  // namespace ctq::calibrate
