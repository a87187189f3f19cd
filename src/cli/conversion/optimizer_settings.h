// The options that choose how codes are found.
#pragma once

#include <string>
#include <vector>

#include "ctq/cli/arguments.h"
#include "ctq/pipeline/convert.h"
#include "ctq/plan/plan.h"

namespace ctq::cli {

/// Fills run.optimizer and run.bias_correction, and with --simple plan.target.optimizer. plan: complete but
/// for that, with its layer configuration: entries may name optimizers of their own.
///
/// throws  Error(kUsage) for options that contradict each other. Adds a note for each that has no effect, and
///         for a seed that was picked
void read_optimizer(const Arguments& arguments, plan::Options& plan, pipeline::RunOptions& run,
                    std::vector<std::string>& notes, std::vector<std::string>& warnings);

}  // namespace ctq::cli
