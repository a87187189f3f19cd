// How the codes of each layer are found: the run's optimizer, the layer's own, and what the checkpoint
// implies.
#pragma once

#include <string>

#include "calibrate/implied.h"
#include "calibrate/lora_rows.h"
#include "calibrate/recorded.h"
#include "model/checkpoint.h"
#include "optimize/optimizer.h"
#include "plan/plan.h"

namespace ctq::pipeline {

/// Answers from headers alone.
class LayerMethods {
 public:
  /// checkpoint, recording, lora: must outlive this; the latter two null when there are none
  LayerMethods(const model::Checkpoint& checkpoint, const optimize::Settings& run,
               const calibrate::Recording* recording, const calibrate::LoraRows* lora)
      : implied_(checkpoint), recording_(recording), lora_(lora), run_(run) {}

  struct Choice {
    optimize::Settings settings;                  ///< the run's, with what the layer's target says
    bool recorded = false;                        ///< the second moment of the input is recorded
    bool lora = false;                            ///< it is not, and a LoRA says which inputs matter most
    calibrate::ImpliedInputs::Form implied = {};  ///< what `source` is
    std::string source;  ///< whence the checkpoint implies it, in words, which is used where it is not
                         ///< recorded; empty: it does not, or it is not asked for

    /// "rtn", "adamw", "direct", "gptq", "implied (norm encoder.layer.0.output.LayerNorm)".
    std::string label() const;
  };
  /// tensor: to be quantized
  Choice choice(const plan::TensorPlan& tensor) const;

  /// "optimizer auto: implied for 32 layers (18 behind a norm, 6 attention outputs, 8 behind an activation),
  /// direct for 4"; empty when every layer is rounded to nearest.
  std::string summary(const plan::Plan& plan) const;

  const calibrate::ImpliedInputs& implied() const { return implied_; }
  const calibrate::Recording* recording() const { return recording_; }

 private:
  calibrate::ImpliedInputs implied_;
  const calibrate::Recording* recording_;
  const calibrate::LoraRows* lora_;
  optimize::Settings run_;
};

}  // namespace ctq::pipeline
