// What was recorded of the rows that layers read: a calibration file (docs/formats/calibration.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "calibrate/calibration_file.h"
#include "calibrate/input_rows.h"
#include "model/checkpoint.h"

namespace ctq::calibrate {

/// Statistics of one input. Undefined tensors: not recorded.
struct RecordedInput {
  InputRows rows;
  linalg::Moment second;   ///< H as the file has it, [in_features, in_features] float32
  at::Tensor diagonal;     ///< of H, of all that was seen, where it is made of rows, [in_features] float32
  at::Tensor mean;         ///< of x, [in_features] float32
  at::Tensor channel_max;  ///< largest |x| of each column, [in_features] float32

  /// Indices of rows to judge by what was learned of the others: about a tenth, whole groups of them; empty
  /// where there is one group.
  at::Tensor held_back() const;
};

/// A file of recorded statistics, matched with a checkpoint. Reads headers when opened and statistics on
/// demand. Safe to use from several threads.
class Recording {
 public:
  /// path        .safetensors: `<layer>.rows` [n, in], `.hessian` [in, in], `.second_moment` [in], `.mean`,
  ///             `.channel_max`, `.channel_mean` [in], `.input_scale` []; header entry `shared` for layers
  ///             that read the input of another. .json: {layer: input_scale} or {layer: {channel_max,
  ///             channel_mean, input_scale}}
  /// checkpoint  whose layers are meant; names may differ by the prefix of a model, or be another library's.
  ///             Of layers that are joined here, channel_max and input scale are the largest of the parts'
  ///
  /// throws  Error(kBadInput): unreadable, no such file, a width or shape that does not fit (naming the first
  ///         layer); Error(kFailure): no entry belongs to any 2-D weight of the checkpoint
  static Recording open(const std::string& path, const model::Checkpoint& checkpoint);

  /// Layers whose statistics are of random rows.
  size_t random() const;
  /// Knows nothing of those layers from here on.
  void leave_out_random();
  /// Whether H or the mean of some layer's input is known, so that codes or biases can depend on it.
  bool knows_moments() const;

  /// Whether H can be known. layer: as model::Checkpoint::Entry::layer() names it.
  bool has_second_moment(std::string_view layer) const;
  /// Whether RecordedInput::channel_max can be known.
  bool has_channel_max(std::string_view layer) const;
  /// Rows of the layer's input; 0: none.
  int64_t stored_rows(std::string_view layer) const;
  /// Whether H is made of them, and not in the file.
  bool is_of_rows(std::string_view layer) const;
  /// Whether RecordedInput::diagonal can be known.
  bool has_diagonal(std::string_view layer) const;
  /// Of the entry that the layer reads; layers with the same key read the same input. Empty: none.
  std::string key(std::string_view layer) const;
  std::optional<double> input_scale(std::string_view layer) const;
  /// The |x| that the largest code shall stand for: what the file's input scale was made of, else the
  /// largest.
  std::optional<double> input_magnitude(std::string_view layer) const;

  /// The statistics of a layer's input; rows that are not finite are left out, and logged.
  /// returns  nothing where none is recorded; the same bits for any number of threads on the CPU
  std::optional<RecordedInput> load(std::string_view layer, at::Device device) const;

  /// The layers of the checkpoint that the file knows, and of the file those that it does not.
  const MatchedLayers& matched() const { return layers_; }

 private:
  Recording(CalibrationFile file, MatchedLayers layers);
  const CalibrationFile::Entry* find(std::string_view layer) const;
  /// The same rows, as often as they were recorded; of find() first.
  std::vector<const CalibrationFile::Entry*> inputs(std::string_view layer) const;

  CalibrationFile file_;
  MatchedLayers layers_;
};

}  // namespace ctq::calibrate
