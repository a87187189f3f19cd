#include "calibrate/gather.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <set>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "base/cancel.h"
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "calibrate/lora_rows.h"
#include "linalg/device.h"

namespace ctq::calibrate {
namespace {

using CheckpointEntry = model::Checkpoint::Entry;

PendingTensor pending_rows(const CheckpointEntry& source, const at::Tensor& rows,
                           const MeasuredOptions& options) {
  const int64_t width = rows.size(1);
  if (options.hessian)
    return {".hessian", at::kFloat, {width, width}, [&source, device = options.device] {
              return linalg::on_device_or_cpu(device, [&](at::Device place) {
                return second_moment(usable_rows(source).to(place)).cpu();
              });
            }};
  const int64_t kept = std::min(rows.size(0), options.rows.value_or(rows.size(0)));
  return {".rows", rows.scalar_type(), {kept, width}, [&source, kept, seed = options.seed] {
            return choose_rows(usable_rows(source), kept, seed);
          }};
}

/// What is known of those rows, in their order.
std::vector<PendingTensor> pending_origins(const CalibrationFile::Entry& source, const at::Tensor& rows,
                                           const MeasuredOptions& options) {
  std::vector<PendingTensor> pending;
  if (options.hessian) return pending;
  const RowOrigins origins = row_origins(source);
  const int64_t kept = std::min(rows.size(0), options.rows.value_or(rows.size(0)));
  const at::Tensor usable = finite_index(stored_rows(*source.rows));
  for (const RowPart& part : kRowParts) {
    const at::Tensor& values = origins.*part.loaded;
    if (!values.defined()) continue;
    const at::Tensor chosen = choose_rows(values.index_select(0, usable), kept, options.seed).to(at::kInt);
    pending.push_back({std::string(part.name), at::kInt, {kept}, [chosen] { return chosen; }});
  }
  return pending;
}

double largest_of(const CalibrationFile::Entry& entry) {
  if (entry.channel_max) return model::load(*entry.channel_max).to(at::kDouble).amax().item<double>();
  double largest = 0;
  for (const double value : entry.json_channel_max) largest = std::max(largest, value);
  return largest;
}

std::optional<double> magnitude_of(const CalibrationFile::Entry& entry, double percentile) {
  const bool knows_largest = entry.channel_max || !entry.json_channel_max.empty();
  std::optional<double> magnitude;
  if (percentile >= 100 && knows_largest) {
    magnitude = largest_of(entry);
  } else if (entry.stored_rows() > 0) {
    const at::Tensor rows = usable_rows(*entry.rows);
    if (rows.size(0) > 0) magnitude = magnitude_percentile(rows, percentile);
  } else if (entry.input_scale) {
    magnitude = model::load(*entry.input_scale).to(at::kDouble).item<double>() * kInputScaleCode;
  } else if (entry.json_input_scale) {
    magnitude = *entry.json_input_scale * kInputScaleCode;
  } else if (knows_largest) {
    magnitude = largest_of(entry);
  }
  if (magnitude && !(std::isfinite(*magnitude) && *magnitude >= 0)) return std::nullopt;
  return magnitude;
}

}  // namespace

std::vector<StatisticsEntry> gather_measured(const CalibrationFile& activations,
                                             const model::Checkpoint& checkpoint, const MatchedLayers& layers,
                                             const MeasuredOptions& options) {
  std::map<std::string, std::vector<std::string>> readers;
  for (const auto& [layer, owner] : layers.owners) readers[owner].push_back(layer);
  std::vector<StatisticsEntry> entries;
  for (const auto& [owner, names] : readers) {
    throw_if_cancelled();
    const CalibrationFile::Entry& recorded = activations.entries().find(owner)->second;
    const CheckpointEntry& source = *recorded.rows;
    const at::Tensor rows = usable_rows(source);
    if (rows.size(0) < source.info->shape[0]) {
      warn("{}: {} of {} rows of '{}' hold NaN or infinite values and are left out", activations.path(),
           source.info->shape[0] - rows.size(0), source.info->shape[0], printable(owner));
    }
    if (rows.size(0) == 0) {
      warn("{}: no row of '{}' can be used; the layer is left out", activations.path(), printable(owner));
      continue;
    }
    StatisticsEntry& entry = entries.emplace_back();
    entry.layer = names.front();
    entry.shared_by.assign(names.begin() + 1, names.end());
    entry.statistics = measure(rows, options.percentile);
    entry.origin = activations.origin(owner);
    const bool chosen = options.rows.value_or(rows.size(0)) < rows.size(0);
    if (!options.hessian && (recorded.second_moment || chosen))
      entry.second_moment = recorded.second_moment
                                ? model::load(*recorded.second_moment).to(at::kFloat)
                                : mean_square_of(stored_rows(source), row_origins(recorded).counts);
    entry.large.push_back(pending_rows(source, rows, options));
    std::ranges::move(pending_origins(recorded, rows, options), std::back_inserter(entry.large));
  }
  if (entries.empty())
    fail(ErrorCode::kFailure, "{}: no layer of {} has rows that can be used", activations.path(),
         checkpoint.path());
  return entries;
}

SyntheticStatistics gather_synthetic(const model::Checkpoint& checkpoint, const SyntheticOptions& options) {
  std::optional<LoraRows> lora;
  if (!options.lora.empty()) lora.emplace(options.lora, options.seed);
  // LibTorch's generator takes 32 bits of its seed.
  at::Generator generator = at::detail::createCPUGenerator(options.seed & 0xFFFFFFFF);
  std::map<int64_t, InputStatistics> by_width;
  SyntheticStatistics gathered;
  for (const CheckpointEntry& weight : checkpoint.entries()) {
    if (!weight.is_matrix() || weight.info->numel() == 0) continue;
    throw_if_cancelled();
    const int64_t width = weight.info->shape[1];
    StatisticsEntry& entry = gathered.entries.emplace_back();
    entry.layer = weight.layer();
    const at::Tensor trained = lora ? lora->rows(entry.layer, width) : at::Tensor();
    if (trained.defined()) {
      entry.statistics = measure(trained, options.percentile);
      entry.origin = Origin::kLora;
      ++gathered.from_lora;
    } else {
      auto known = by_width.find(width);
      if (known == by_width.end()) {
        const at::Tensor normal = at::randn({options.samples, width}, generator, at::kFloat);
        known = by_width.emplace(width, measure(normal, options.percentile)).first;
      }
      entry.statistics = known->second;
      entry.origin = Origin::kRandom;
    }
    entry.statistics.mean = at::Tensor();
  }
  if (gathered.entries.empty())
    fail(ErrorCode::kFailure, "{}: has no 2-D weight, so no layer to take statistics for", checkpoint.path());
  if (lora && gathered.from_lora == 0)
    fail(ErrorCode::kFailure, "{}: none of its {} layers is in {}{}", options.lora, lora->size(),
         checkpoint.path(), lora->example());
  return gathered;
}

std::optional<double> input_magnitude(const CalibrationFile& file, std::span<const std::string> inputs,
                                      double percentile) {
  std::optional<double> largest;
  for (const std::string& owner : inputs) {
    const auto magnitude = magnitude_of(file.entries().find(owner)->second, percentile);
    if (magnitude) largest = std::max(largest.value_or(*magnitude), *magnitude);
  }
  return largest;
}

}  // namespace ctq::calibrate
