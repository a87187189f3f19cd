// Codes for one layer, by the optimizer that is chosen for it.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "known_input.h"
#include "pipeline/convert.h"
#include "pipeline/layer_methods.h"
#include "transform/smoothing.h"

namespace ctq::pipeline {

class LayerRounding {
 public:
  /// smoothing: of the weights that round() will get, whose inputs are divided; null: none
  LayerRounding(const model::Checkpoint& checkpoint, const RunOptions& options,
                const transform::Smoothing* smoothing)
      : options_(options),
        methods_(checkpoint, options.optimizer, options.recording, options.lora),
        input_(options, methods_, smoothing) {}

  const LayerMethods& methods() const { return methods_; }

  struct Outcome {
    std::vector<format::Encoded> encoded;  ///< of the weight, or of every expert of a bank
    std::optional<Optimized> optimized;
  };
  /// What round() has to keep to.
  struct Bounds {
    uint64_t layer_bytes = MemoryLimits::kUnlimited;  ///< of the weight's device; a layer that cannot be done
                                                      ///< within is rounded to nearest, with a warning
    float largest =
        0;  ///< magnitude that the weight's one scale must reach, for weights that share it; 0: none do
    std::optional<std::chrono::steady_clock::time_point> deadline = {};  ///< of iterative optimizers
  };
  /// weight   on the device that is to do it; every expert of a bank is rounded by itself
  /// returns  nothing when the weight holds a NaN or an infinity
  std::optional<Outcome> round(const plan::TensorPlan& tensor, const at::Tensor& weight,
                               const Bounds& bounds);

  /// Round to nearest in the layer's own format, whatever its optimizer; weight, largest and result as above.
  std::optional<std::vector<format::Encoded>> nearest(const plan::TensorPlan& tensor,
                                                      const at::Tensor& weight, float largest = 0) const;

  /// Whether round() gives the layer to an optimizer. Headers alone.
  bool optimizes(const plan::TensorPlan& tensor) const;

  /// Of what round() gave for the weight: output_rel on rows that were held back, else weight_rel.
  double error(const plan::TensorPlan& tensor, const at::Tensor& weight, const Outcome& outcome);
  /// "output_rel" or "weight_rel".
  std::string_view error_name(const plan::TensorPlan& tensor);

  /// The mean of the rows that the layer reads, [in_features] float32 on the device of the last round().
  /// Undefined where --bias-correction does not let it be used.
  at::Tensor input_mean(const plan::TensorPlan& tensor);

 private:
  /// The same of a matrix: a weight, or one expert of a bank.
  struct MatrixOutcome {
    format::Encoded encoded;
    std::optional<Optimized> optimized;
  };
  std::optional<MatrixOutcome> round_matrix(const plan::TensorPlan& tensor, const at::Tensor& weight,
                                            const Bounds& bounds);
  std::optional<format::Encoded> nearest_matrix(const plan::TensorPlan& tensor, const at::Tensor& weight,
                                                float largest) const;

  /// Rows that were held back, [rows, in_features]; undefined where there are none.
  at::Tensor held_back(const plan::TensorPlan& tensor);
  /// Tries what was recorded on inputs that are held back. Nothing where that cannot be.
  std::optional<Verdict> try_recorded(const at::Tensor& weight, const LayerMethods::Choice& choice,
                                      const format::Encoded& nearest);
  /// What the choice's method minimises under, in the space of the codes of `nearest`. verdict: null where
  /// nothing was tried
  optimize::SecondMoment moment_of(const std::string& layer, const at::Tensor& weight,
                                   const LayerMethods::Choice& choice, const format::Encoded& nearest,
                                   const Verdict* verdict);
  std::optional<optimize::KnownMoment> known_moment(const std::string& layer,
                                                    const LayerMethods::Choice& choice,
                                                    const Verdict* verdict);
  /// The same of the choice where nothing is recorded.
  std::optional<optimize::KnownMoment> implied_moment(const LayerMethods::Choice& choice);

  /// Keeps round to nearest where it is closer to the layer's output on rows that were held back.
  void guard_output(const plan::TensorPlan& tensor, const at::Tensor& weight, const format::Encoded& nearest,
                    MatrixOutcome& outcome);
  /// Once for every weight, however many experts it has.
  void warn_of(const plan::TensorPlan& tensor, const std::string& what);
  const RunOptions& options_;
  LayerMethods methods_;
  KnownInput input_;
  at::Device device_ = at::kCPU;
  const plan::TensorPlan* warned_of_ = nullptr;
};

}  // namespace ctq::pipeline
