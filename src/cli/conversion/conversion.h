// The conversion, for the commands that are one.
#pragma once

#include "settings.h"

namespace ctq::cli {

/// arguments: what the settings were made of
/// returns  the exit code
int run_conversion(Settings settings, const Arguments& arguments);

}  // namespace ctq::cli
