// Codes for one layer, by the optimizer that is chosen for it.
#pragma once

#include <optional>
#include <string>

#include "ctq/calibrate/implied.h"
#include "ctq/pipeline/convert.h"
#include "ctq/pipeline/layer_methods.h"

namespace ctq::pipeline {

class LayerRounding {
 public:
  LayerRounding(const model::Checkpoint& checkpoint, const RunOptions& options)
      : options_(options), methods_(checkpoint, options.optimizer) {}

  struct Outcome {
    format::Encoded encoded;
    std::optional<Optimized> optimized;
  };
  /// weight: on the run's device. Nothing when it holds a NaN or an infinity.
  std::optional<Outcome> round(const plan::TensorPlan& tensor, const at::Tensor& weight);

  /// The mean of the rows that the layer reads, [in_features] float32 on the run's device, where
  /// --bias-correction lets it be used; undefined otherwise.
  at::Tensor input_mean(const plan::TensorPlan& tensor);

 private:
  const std::optional<calibrate::InputMoments>& implied_moments(const std::string& layer);

  const RunOptions& options_;
  LayerMethods methods_;
  std::string cached_key_;  ///< of the input whose moments are kept: q, k and v read the same
  std::optional<calibrate::InputMoments> cached_moments_;
};

}  // namespace ctq::pipeline
