// The conversion, for the commands that are one.
#pragma once

#include "settings.h"

namespace ctq::cli {

/// returns  the exit code
int run_conversion(Settings settings);

}  // namespace ctq::cli
