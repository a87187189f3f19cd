// Whether what was recorded of a layer's input serves inputs that were not recorded, and how much it wants
// to be damped: tried on some of the layer's rows, judged on recorded inputs that were not fitted.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "calibrate/input_rows.h"
#include "format/codec.h"
#include "optimize/optimizer.h"
#include "pipeline/convert.h"

namespace ctq::pipeline {

/// Recorded inputs that are held back, and what the others say.
struct HeldBack {
  at::Tensor rows;        ///< [h, in_features] float32, each times the root of its count
  at::Tensor roots;       ///< these, [h, 1]
  linalg::Moment second;  ///< of the others, [in_features, in_features] float32
};

/// The rows of that index, int64 on any device; `second` is left undefined.
HeldBack rows_at(const calibrate::InputRows& rows, const at::Tensor& index);

/// Layers with more columns are not tried: a trial factors as many moments as the rounding.
inline constexpr int64_t kWidestTried = 4096;
/// Rows of a weight that tell enough.
inline constexpr int64_t kTriedRows = 128;

/// Whether what was recorded of the input is tried, where rows of it are.
bool is_tried(const optimize::Settings& settings, const format::Codec& codec, int64_t in_features);

/// How a recorded second moment H is used: (1 - share) H + share P, P of the same mean diagonal, plus
/// lambda mean(diag H) I.
struct Damping {
  double lambda = 0;
  double share = 0;  ///< of what the checkpoint implies
};

/// A second moment with shares of P; a matrix, unless both are D + X^T X. second, implied: [N, N] float32;
/// implied undefined or share 0: second
linalg::Moment blended(const linalg::Moment& second, const linalg::Moment& implied, double share);

class CalibrationTrial {
 public:
  /// What is rounded, all of it.
  struct Subject {
    const format::Encoded& nearest;
    const at::Tensor& weight;
    const optimize::Settings& settings;
  };
  /// What was recorded, and what is known besides. Must outlive the trial.
  struct Known {
    std::span<const HeldBack> held_back;  ///< at least one
    at::Tensor mean;                      ///< of the input, [in_features] float32
    linalg::Moment implied;               ///< undefined: nothing
    bool of_pictures = false;  ///< they are of other pictures: steps of one do not tell whether to damp less
    /// What the layer would be rounded under without the recording, in the space of its codes; nothing where
    /// so much was recorded that it is not asked.
    std::optional<optimize::SecondMoment> data_free = {};
  };

  /// rows: of the weight to try at most
  CalibrationTrial(const Subject& subject, const Known& known, int64_t rows);

  /// ||X E^T|| / ||X W^T - its mean|| over the inputs that are held back.
  double nearest() const { return nearest_; }
  double of(const Damping& damping) const { return of(damping, subject_.settings); }
  /// Without what was recorded.
  double without(const optimize::SecondMoment& moment) const;

  /// The best of a few: lambda from `first` on by steps of the root of ten as long as one is better, then
  /// shares of P. In one pass with absmax scales, which is enough to compare them.
  Damping search(const Damping& first) const;

 private:
  /// Neighbouring rows of the weight.
  struct Rows {
    int64_t first, count;
  };
  struct Part {
    format::Encoded nearest;
    at::Tensor weight;
  };
  static std::vector<Rows> parts(const format::Encoded& nearest, int64_t rows, int64_t wanted);
  /// of: Part -> double. The parts are worked on in parallel.
  template <typename Of>
  double sum_over_parts(const Of& of) const;
  double of(const Damping& damping, const optimize::Settings& settings) const;
  double squares(const HeldBack& set, const optimize::SecondMoment& moment,
                 const optimize::Settings& settings) const;

  Subject subject_;
  Known known_;
  std::vector<Rows> parts_;
  double whole_ = 0, nearest_ = 0;
};

/// What a layer whose input is recorded is rounded under.
struct Verdict {
  bool plain = false;       ///< round to nearest is closer to the output than all else
  bool recorded = true;     ///< else what the checkpoint tells is better than what was recorded
  Damping damping = {};     ///< of what was recorded
  OutputError output = {};  ///< of round to nearest and of the best, on rows that were not fitted
  CalibrationUse use = {};

  /// Of a layer that keeps round to nearest.
  Optimized kept() const;
};

/// Tries what was recorded: with the usual damping where there is plenty, else with the best of a few.
/// served  a damping that was good for another layer of the same input and format; set where one is found
Verdict judge(const CalibrationTrial::Subject& subject, const CalibrationTrial::Known& known,
              std::optional<Damping>& served);

}  // namespace ctq::pipeline
