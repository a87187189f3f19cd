// --int8, --fp8 ... and --format: which target several options name.
#pragma once

#include "ctq/cli/arguments.h"
#include "ctq/engine/settings.h"

namespace ctq::cli {

/// Fills in type and format.
/// throws  Error(kUsage) for two of them
void bind_target(const Arguments& arguments, engine::Target& target);

}  // namespace ctq::cli
