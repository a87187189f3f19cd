// Codes for one layer, by the optimizer of the run.
#pragma once

#include <optional>
#include <string>

#include "ctq/calibrate/implied.h"
#include "ctq/pipeline/convert.h"

namespace ctq::pipeline {

class LayerRounding {
 public:
  LayerRounding(const model::Checkpoint& checkpoint, const RunOptions& options)
      : options_(options), implied_(checkpoint) {}

  struct Outcome {
    format::Encoded encoded;
    std::optional<Optimized> optimized;
  };
  /// weight: on the run's device. Nothing when it holds a NaN or an infinity.
  std::optional<Outcome> round(const plan::TensorPlan& tensor, const at::Tensor& weight);

 private:
  std::optional<at::Tensor> implied_second_moment(const std::string& layer);

  const RunOptions& options_;
  const calibrate::ImpliedInputs implied_;
  std::string cached_key_;  ///< of the input whose moment is kept: q, k and v read the same
  std::optional<at::Tensor> cached_moment_;
};

}  // namespace ctq::pipeline
