// Statistics for the layers of a model: of real rows, or of rows that are made up.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <c10/core/Device.h>

#include "calibrate/calibration_file.h"
#include "calibrate/statistics_file.h"
#include "model/checkpoint.h"

namespace ctq::calibrate {

struct MeasuredOptions {
  double percentile = 99.9;          ///< of the magnitudes, for the input scale
  std::optional<int64_t> rows = {};  ///< rows to keep of each input; nothing: all
  uint64_t seed = 42;                ///< of their choice
  bool hessian = false;              ///< H of the rows in place of the rows
  at::Device device = at::kCPU;      ///< where H is calculated
};

/// Entries with all statistics and the rows, under the names of the checkpoint. Rows that hold a NaN or an
/// infinity are left out, and logged.
///
/// activations  see CalibrationFile::open_activations; must outlive the entries
/// throws       Error(kBadInput): rows of another width than a layer reads; Error(kFailure): no layer of the
///              checkpoint has rows that can be used
std::vector<StatisticsEntry> gather_measured(const CalibrationFile& activations,
                                             const model::Checkpoint& checkpoint, const MatchedLayers& layers,
                                             const MeasuredOptions& options);

struct SyntheticOptions {
  int64_t samples = 64;  ///< rows per layer
  uint64_t seed = 42;
  double percentile = 99.9;  ///< of the magnitudes, for the input scale
  std::string lora = {};     ///< path of a LoRA; empty: none
};

struct SyntheticStatistics {
  std::vector<StatisticsEntry> entries;
  size_t from_lora = 0;  ///< layers whose rows come from the LoRA
};

/// Entries with channel_max, channel_mean and input scale of every 2-D weight, taken of standard-normal rows,
/// one matrix for each width. They say nothing of the model; a mean of such rows would be noise alone and is
/// not given.
///
/// A layer that the LoRA changes by B A has rows x = [A; A + 0.1 n; A + 0.2 n'; -A] / std instead, n and n'
/// standard normal: the directions that somebody has trained it to answer to. Its layers are found by name
/// without prefixes, with '.' for '_' and in lower case, also where one name ends with the other.
///
/// throws  Error(kBadInput): the LoRA cannot be read, has no A, or one of another width than its layer;
///         Error(kFailure): no 2-D weight, or none that the LoRA names
SyntheticStatistics gather_synthetic(const model::Checkpoint& checkpoint, const SyntheticOptions& options);

/// The magnitude of an input that the largest code shall stand for: the percentile of its rows; of an input
/// without rows what its input scale was made of, or its largest magnitude, which also stands for percentile
/// 100 in any case. Nothing when the file has none of these, or what it has is not finite.
/// inputs  owners whose rows are the same: the largest of them counts
std::optional<double> input_magnitude(const CalibrationFile& file, std::span<const std::string> inputs,
                                      double percentile);

}  // namespace ctq::calibrate
