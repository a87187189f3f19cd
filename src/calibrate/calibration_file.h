// A calibration file as it lies on the disk (docs/formats/calibration.md).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "calibrate/input_rows.h"
#include "calibrate/origin.h"
#include "model/checkpoint.h"

namespace ctq::calibrate {

/// Which input each layer of a checkpoint reads.
struct MatchedLayers {
  std::map<std::string, std::string, std::less<>> owners;  ///< layer of the checkpoint -> input of the file
  /// Of layers that are joined of several: the inputs that were recorded besides, which are the same rows.
  std::map<std::string, std::vector<std::string>, std::less<>> joined;
  std::vector<std::string> unmatched;  ///< layers of the file that are no 2-D weight of it
  size_t renamed = 0;                  ///< layers of the file that have another library's names
  size_t renamed_to = 0;               ///< and of the checkpoint, which have their rows

  /// Of a layer that has an owner: it, and what is joined.
  std::vector<std::string> inputs(std::string_view layer) const;
};

/// Reads headers when opened and tensors on demand. Safe to use from several threads.
class CalibrationFile {
 public:
  /// One distinct input. Null and empty: not stored.
  struct Entry {
    const model::Checkpoint::Entry *rows = nullptr, *row_counts = nullptr, *row_pictures = nullptr,
                                   *row_steps = nullptr, *hessian = nullptr, *second_moment = nullptr,
                                   *mean = nullptr, *channel_max = nullptr, *channel_mean = nullptr,
                                   *input_scale = nullptr;
    std::vector<double> json_channel_max, json_channel_mean;
    std::optional<double> json_input_scale;

    int64_t stored_rows() const { return rows && !rows->info->shape.empty() ? rows->info->shape[0] : 0; }
  };
  using Entries = std::map<std::string, Entry, std::less<>>;
  using Part = std::pair<std::string_view, const model::Checkpoint::Entry * Entry::*>;

  /// The tensors of an entry by the ending of their names, in the order of the documentation.
  static constexpr std::array<Part, 10> kParts = {{{".rows", &Entry::rows},
                                                   {".row_counts", &Entry::row_counts},
                                                   {".row_pictures", &Entry::row_pictures},
                                                   {".row_steps", &Entry::row_steps},
                                                   {".hessian", &Entry::hessian},
                                                   {".second_moment", &Entry::second_moment},
                                                   {".mean", &Entry::mean},
                                                   {".channel_max", &Entry::channel_max},
                                                   {".channel_mean", &Entry::channel_mean},
                                                   {".input_scale", &Entry::input_scale}}};

  /// path    .safetensors, or .json as older programs write it
  /// throws  Error(kBadInput): unreadable, or something in it is no statistic of a calibration file. Shapes
  ///         are not looked at; width() and match() do so
  static CalibrationFile open(const std::string& path);

  /// Rows of inputs: a calibration file that has some, or a safetensors file with one tensor
  /// [rows, in_features] per layer, named as the layer.
  /// throws  Error(kBadInput): as open(); an input without rows; a tensor that is no matrix of floats
  static CalibrationFile open_activations(const std::string& path);

  const std::string& path() const { return path_; }
  /// By the layer that owns them.
  const Entries& entries() const { return entries_; }
  /// Further layers -> the owner whose input they read.
  const std::map<std::string, std::string, std::less<>>& shared() const { return shared_; }
  const safetensors::Metadata& metadata() const;

  /// in_features of an entry; 0 where only an input scale is stored.
  /// throws  Error(kBadInput) where its tensors do not go together, naming the first one
  int64_t width(const std::string& owner) const;
  /// Rows that the statistics were taken of, by the header entry `counts`; else the rows that are stored, 0
  /// where there are none.
  int64_t counted(const std::string& owner) const;

  /// Where an entry's numbers come from, by the header entry `origins`; of files before that by `source`.
  Origin origin(const std::string& owner) const;

  /// Finds the file's layers among the 2-D weights of a checkpoint: by name, by the name without the model's
  /// prefix, or by the name that another library gives the layer. Where that one splits a layer, the part
  /// with the most that is known is the owner.
  /// throws  Error(kBadInput): an input of another width than a layer reads; Error(kFailure): no layer found
  MatchedLayers match(const model::Checkpoint& checkpoint) const;

 private:
  void read_safetensors();
  void read_header_entries();
  void read_json();
  void match_renamed(const std::vector<std::pair<std::string, std::string>>& layers,
                     const class LayerNames& names, MatchedLayers& matched) const;
  void check_width(const std::string& owner, std::string_view layer, int64_t in_features) const;

  std::string path_;
  std::optional<model::Checkpoint> file_;
  Entries entries_;
  std::map<std::string, std::string, std::less<>> shared_;
  std::map<std::string, int64_t, std::less<>> counts_;
  std::map<std::string, Origin, std::less<>> origins_;
};

/// Rows as a file has them, float64 as float32. [n, N].
at::Tensor stored_rows(const model::Checkpoint::Entry& rows);
/// Those that can be computed with: finite ones.
at::Tensor usable_rows(const model::Checkpoint::Entry& rows);

/// What is stored with a number for every row: its part, and what it is once it is loaded.
struct RowPart {
  std::string_view name;
  const model::Checkpoint::Entry* CalibrationFile::Entry::*stored;
  at::Tensor RowOrigins::*loaded;
};
inline constexpr std::array<RowPart, 3> kRowParts = {
    {{".row_counts", &CalibrationFile::Entry::row_counts, &RowOrigins::counts},
     {".row_pictures", &CalibrationFile::Entry::row_pictures, &RowOrigins::pictures},
     {".row_steps", &CalibrationFile::Entry::row_steps, &RowOrigins::steps}}};

/// What the file knows of each row of an entry.
/// throws  Error(kBadInput): a count below 1
RowOrigins row_origins(const CalibrationFile::Entry& entry);

}  // namespace ctq::calibrate
