// The conversion of a text encoder, for people and for programs.
#pragma once

#include <string>

#include "pipeline/clip_g.h"
#include "plan/clip_g.h"

namespace ctq::report {

/// What is going to happen: tensors, kept blocks, candidates, the fused projections. One line each.
std::string clip_g_intention(const plan::ClipGPlan& plan, const plan::ClipGOptions& options);

/// One line per tensor of the output: "  <name>: F16 -> F8_E4M3", or "(unchanged)", and the reason.
std::string clip_g_mapping(const plan::ClipGPlan& plan);

/// The closing block: tensors kept, quantized, split and in all; sizes by the tensors' bytes.
std::string clip_g_summary(const plan::ClipGPlan& plan);

/// {"tensors": [{"name", "source", "shape", "dtype_in", "dtype_out", "reason", "max_abs", "beyond_448",
/// "non_finite"}], "kept_blocks", "totals": {"kept", "fp8", "split_blocks", "output_tensors", "bytes_in",
/// "bytes_out"}}; the values of weights that were to become FP8 alone.
std::string clip_g_json(const plan::ClipGPlan& plan, const pipeline::ClipGSurvey& survey);

}  // namespace ctq::report
