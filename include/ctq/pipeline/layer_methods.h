// How the codes of each layer are found: the run's optimizer, the layer's own, and what the checkpoint
// implies.
#pragma once

#include <string>

#include "ctq/calibrate/implied.h"
#include "ctq/model/checkpoint.h"
#include "ctq/optimize/optimizer.h"
#include "ctq/plan/plan.h"

namespace ctq::pipeline {

/// Answers from headers alone.
class LayerMethods {
 public:
  /// checkpoint: must outlive this
  LayerMethods(const model::Checkpoint& checkpoint, const optimize::Settings& run)
      : implied_(checkpoint), run_(run) {}

  struct Choice {
    optimize::Settings settings;  ///< the run's, with what the layer's target says
    std::string source;  ///< of the second moment of the input that the checkpoint implies, in words; empty:
                         ///< none is asked for, or none is known

    /// "rtn", "adamw", "direct", "implied (norm encoder.layer.0.output.LayerNorm)".
    std::string label() const;
  };
  /// tensor: to be quantized
  Choice choice(const plan::TensorPlan& tensor) const;

  /// "optimizer auto: implied for 32 layers (18 behind a norm, 6 attention outputs, 8 behind an activation),
  /// direct for 4"; empty when every layer is rounded to nearest.
  std::string summary(const plan::Plan& plan) const;

  const calibrate::ImpliedInputs& implied() const { return implied_; }

 private:
  calibrate::ImpliedInputs implied_;
  optimize::Settings run_;
};

}  // namespace ctq::pipeline
