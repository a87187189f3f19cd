// Which layers' inputs their loader multiplies by factors of their own: <layer>.pre_quant_scale.
#pragma once

#include <cstddef>
#include <string>

#include "model/checkpoint.h"
#include "pipeline/convert.h"
#include "plan/plan.h"

namespace ctq::pipeline {

/// What was measured of the layers that could have factors of their own.
struct InputFactorChoice {
  transform::StoredFactors factors;  ///< by layer, of those that come closer by them
  size_t measured = 0;               ///< layers
  size_t unmeasured = 0;             ///< layers without recorded rows, or with too few to hold some back
  size_t unread = 0;                 ///< layers for which `obstacle` rules them out
  std::string obstacle;              ///< why the client does not read such factors; empty: it does
};

/// Candidates are the layers of the plan whose format's readers multiply the input by such factors (nvfp4,
/// no table), which no fold of transform::Smoothing serves. One gets transform::stored_factors() where these
/// lower the error of its output, ||Q(x p) decode(W / p)^T - x W^T||_F on rows that were held back, by 1% or
/// more, and do not raise it where the input stays as it is (Q the identity: GPUs that do not multiply FP4).
/// Q is the format's round to nearest, as the loader's; so are the codes that are compared. Layers marked
/// for full-precision products: without Q. Reads the weights of all candidates, in the order of the file's
/// names.
///
/// run      recording and smoothquant_alpha set
/// throws   what make_plan and reading throw; Error(kInterrupted) after a signal
InputFactorChoice choose_input_factors(const model::Checkpoint& checkpoint, const plan::Options& options,
                                       const RunOptions& run);

}  // namespace ctq::pipeline
