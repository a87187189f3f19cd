// Input scales for the quantized file: measured, given, or one.
#pragma once

#include <string>
#include <vector>

#include "ctq/calibrate/recorded.h"
#include "ctq/cli/arguments.h"
#include "ctq/model/checkpoint.h"
#include "ctq/plan/plan.h"

namespace ctq::cli {

/// What --static-activations, --input-scales and --input_scale ask for.
struct InputScaleOptions {
  bool measured = false;  ///< --static-activations
  bool one = false;       ///< --input_scale
  std::string file;       ///< --input-scales
};

/// throws  Error(kUsage) for a file of another kind than .json and .safetensors
InputScaleOptions read_input_scale_options(const Arguments& arguments);

/// The scales for a model's layers. recording: null when there is none. Adds warnings.
/// throws  Error(kBadInput) for a file that cannot be read or holds no number; Error(kUsage) when the file
/// and
///         the recording disagree on a layer; Error(kFailure) when the file knows no layer of the model
plan::InputScales find_input_scales(const InputScaleOptions& options, const model::Checkpoint& checkpoint,
                                    const calibrate::Recording* recording,
                                    std::vector<std::string>& warnings);

}  // namespace ctq::cli
