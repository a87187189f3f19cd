// What is known of the input of the layer that is worked on, kept for the next one that reads the same.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "calibrate/implied.h"
#include "calibrate/recorded.h"
#include "calibration_trial.h"
#include "pipeline/convert.h"
#include "pipeline/layer_methods.h"
#include "transform/smoothing.h"

namespace ctq::pipeline {

/// KnownInput::trial_sets() are at most so many,
int64_t most_trial_sets(int64_t in_features);
/// each of rows that are in no other set and of so many at most that are.
inline constexpr int64_t kMostSeenRows = 512;

/// All of it as the layer will read it: divided by what smoothing divides it by.
class KnownInput {
 public:
  /// smoothing: null where there is none. All must outlive this.
  KnownInput(const RunOptions& options, const LayerMethods& methods, const transform::Smoothing* smoothing)
      : options_(options), methods_(methods), smoothing_(smoothing) {}

  /// What follows is of this layer, on this device. Frees what is of another input.
  void turn_to(const std::string& layer, at::Device device);

  /// Null: nothing is recorded.
  const calibrate::RecordedInput* recorded();
  const std::optional<calibrate::InputMoments>& implied();

  /// H as it was recorded, else of all recorded rows; of all but those that are held back; undefined: none.
  const linalg::Moment& second();
  const linalg::Moment& learned_second();
  /// Rows that learned_second() has not seen, each times the root of its count; undefined: none.
  at::Tensor held_back();
  /// Whether so many rows of so many pictures are recorded that a trial of today's damping is enough.
  bool is_plentiful();
  /// Ways to hold rows back. Empty where no rows are recorded, or all belong together.
  std::span<const HeldBack> trial_sets();

  /// Of x / factors, where smoothing divides the input; else as it is. second: of x, [N, N]
  at::Tensor divided(const at::Tensor& second) const;

  /// A damping that served another layer of this input in that format.
  std::optional<Damping>& damping_for(const std::string& format);

 private:
  linalg::Moment of_rows(const at::Tensor& index = {}) const;
  linalg::Moment joined(const HeldBack& set) const;
  at::Tensor factors() const;

  const RunOptions& options_;
  const LayerMethods& methods_;
  const transform::Smoothing* smoothing_;
  std::string layer_;
  at::Device device_ = at::kCPU;

  std::string implied_key_;
  bool has_implied_ = false;  ///< it was looked for
  std::optional<calibrate::InputMoments> implied_;

  std::string recorded_key_;
  bool has_recorded_ = false;
  std::optional<calibrate::RecordedInput> recorded_;
  linalg::Moment second_, learned_second_;
  at::Tensor held_back_;
  std::optional<std::vector<HeldBack>> sets_;
  std::string damping_format_;
  std::optional<Damping> damping_;
};

}  // namespace ctq::pipeline
