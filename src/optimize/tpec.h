// The line search of `tpec`.
#pragma once

#include <ATen/core/Tensor.h>

#include "ctq/optimize/learned.h"
#include "optimize/learned_relaxation.h"

namespace ctq::optimize {

/// From the best positions so far one step along the normalised gradient; twice as far after a step that
/// lowered the loss of the rounded codes, half as far after one that did not, which is taken back. Ends after
/// settings.iterations, at settings.deadline, after 40 vain steps in a row, or where the loss or the step is
/// negligible.
///
/// lr       the first step, in codes of a weight with the layer's typical spacing
/// result   its iterations and stopped_by are set
/// returns  the best sides
at::Tensor search_lines(Relaxation& relaxation, const LearnedSettings& settings, double lr, Rounding& result);

}  // namespace ctq::optimize
