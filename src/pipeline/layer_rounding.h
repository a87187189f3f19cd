// Codes for one layer, by the optimizer of the run.
#pragma once

#include <optional>
#include <string>

#include "ctq/calibrate/implied.h"
#include "ctq/pipeline/convert.h"

namespace ctq::pipeline {

class LayerRounding {
 public:
  LayerRounding(const model::Checkpoint& checkpoint, const RunOptions& options) : options_(options) {
    if (options.optimizer.method == optimize::Method::kImplied) implied_.emplace(checkpoint);
  }

  struct Outcome {
    format::Encoded encoded;
    std::optional<Optimized> optimized;
  };
  /// weight: on the run's device. Nothing when it holds a NaN or an infinity.
  std::optional<Outcome> round(const plan::TensorPlan& tensor, const at::Tensor& weight);

 private:
  std::optional<at::Tensor> implied_second_moment(const std::string& layer);

  const RunOptions& options_;
  std::optional<calibrate::ImpliedInputs> implied_;  ///< resolved only when the method asks for it
  std::string cached_key_;  ///< of the input whose moment is kept: q, k and v read the same
  std::optional<at::Tensor> cached_moment_;
};

}  // namespace ctq::pipeline
