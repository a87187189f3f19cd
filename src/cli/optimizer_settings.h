// The options that choose how codes are found.
#pragma once

#include <string>
#include <vector>

#include "ctq/cli/arguments.h"
#include "ctq/optimize/optimizer.h"

namespace ctq::cli {

/// throws  Error(kUsage) for options that contradict each other. Adds a note for each that has no effect, and
/// for a seed that was picked
optimize::Settings read_optimizer(const Arguments& arguments, std::vector<std::string>& notes);

}  // namespace ctq::cli
