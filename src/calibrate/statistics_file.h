// Writing calibration files (docs/formats/calibration.md), and joining recordings of one model.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "calibrate/calibration_file.h"
#include "calibrate/origin.h"
#include "calibrate/statistics.h"
#include "safetensors/header.h"

namespace ctq::calibrate {

/// A tensor that is made when it is written, so that one of them at a time is in memory.
struct PendingTensor {
  std::string part;  ///< ".rows", ".hessian"
  at::ScalarType dtype;
  std::vector<int64_t> shape;
  std::function<at::Tensor()> make;
};

/// One input of a file to be written.
struct StatisticsEntry {
  std::string layer;
  std::vector<std::string> shared_by;  ///< further layers that read it
  InputStatistics statistics;
  Origin origin = Origin::kRecorded;
  at::Tensor second_moment;  ///< diagonal of H, [N] float32; undefined: not known
  std::vector<PendingTensor> large;
};

/// Writes the entries; format, version, `shared`, `counts` and `origins` are added to the metadata.
/// path    .json: channel_max, channel_mean, input_scale and the origin alone, once for each layer, shared or
///         not; otherwise safetensors
/// throws  Error(kFailure): see safetensors::Writer
void write_statistics(const std::string& path, const std::vector<StatisticsEntry>& entries,
                      safetensors::Metadata metadata);

/// {"layer": input_scale}, as older programs exchange them. Of all entries that have one.
std::string input_scales_json(const std::vector<StatisticsEntry>& entries);

struct MergeOptions {
  std::optional<int64_t> rows = {};  ///< keep this many of each input, chosen evenly; nothing: all
  uint64_t seed = 42;                ///< of the choice
  bool hessian = false;              ///< H of the rows in place of the rows
};

/// Joins what files say of the same layers.
///
/// Rows are put behind each other and thinned. H, second moments, means and channel means are averages
/// weighted by the rows that they were taken of, equally when a file does not say how many; channel_max and
/// the input scale are the largest. Where one file has a statistic and another only rows, it is taken of the
/// rows. Layers whose inputs come from the same inputs of the files share one entry.
///
/// files    what is returned reads from them when it is written; they must outlive it
/// throws   Error(kBadInput): a layer with different widths, tensors of an entry that do not go together,
///          files that have no layer in common; with `hessian`, an input that has neither rows nor H
std::vector<StatisticsEntry> merge(std::span<const CalibrationFile> files, const MergeOptions& options);

/// The header entries of the joined file: what all files agree on; sources listed, samples added.
safetensors::Metadata merged_metadata(std::span<const CalibrationFile> files, const MergeOptions& options);

}  // namespace ctq::calibrate
