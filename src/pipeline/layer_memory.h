// How a layer is rounded so that it fits in memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "format/codec.h"
#include "optimize/optimizer.h"
#include "pipeline/convert.h"
#include "pipeline/layer_methods.h"

namespace ctq::pipeline {

/// What the memory for rounding a layer depends on.
struct LayerWork {
  const format::Codec* codec = nullptr;
  int64_t block_size = 0, rotation_group = 0;
  int64_t rows = 0, columns = 0;  ///< out_features, in_features
  int64_t experts = 1;            ///< that many such matrices, rounded one after the other
  const optimize::Settings* settings = nullptr;
  bool by_threads = false;        ///< rows that are rounded apart are parts of one thread each
  bool weight_in_memory = false;  ///< else it is a mapped file
  bool counted = false;           ///< all experts are decoded together
  bool judged = false;            ///< the decoded layer is compared with the weight
  bool measured = false;          ///< also in the weight's leading directions
  bool implied = false;           ///< the second moment of the input follows from other weights
  int64_t implied_width = 0;      ///< of the norm it follows from
  bool implied_gated = false;     ///< behind a gate: two linears
  int64_t recorded_rows = 0;      ///< of the input, kept for the next layer that reads it
  int64_t samples = 0;            ///< rows of a second moment D + X^T X; 0: it is a matrix
  int64_t trial_sets = 0;         ///< of them at most are held back to try what was recorded
};

/// choice: must outlive the result. device: where the layer is worked on
LayerWork layer_work(const plan::TensorPlan& tensor, const LayerMethods::Choice& choice,
                     const RunOptions& run, at::Device device);

/// What differs from rounding all of the layer at once.
struct LayerSteps {
  int64_t rows_at_once = 0;    ///< of all threads together
  int64_t part_rows = 0;       ///< that are rounded as one
  int64_t segments = 1;        ///< of columns
  int64_t samples = 0;         ///< rows X that are left of a second moment D + X^T X; 0: all
  bool absmax_scales = false;  ///< because scales shared by rows cannot be searched by rows
  uint64_t bytes = 0;          ///< that this takes at most, besides the process itself

  /// What may change the codes: "512 samples", "4 segments", "absmax scales"; empty: nothing does.
  std::string words() const;
};

/// The steps within that many bytes that change least: all at once, on a CPU in parts of its threads where
/// that gives the same codes, which is as fast; some rows at a time, with absmax in place of searched scales
/// where rows share them; also with fewer samples, or columns in segments. Nothing where none of them fits.
/// The choice follows from the arguments and the number of threads alone.
std::optional<LayerSteps> steps_within(const LayerWork& work, uint64_t bytes);

/// Those that need least.
LayerSteps smallest_steps(const LayerWork& work);

/// The settings that carry the steps out.
optimize::Settings with_steps(optimize::Settings settings, const LayerSteps& steps);

/// Whether all operations on the layer are within the limits of a GPU.
bool is_within(const LayerWork& work, const Offload& limits);

}  // namespace ctq::pipeline
