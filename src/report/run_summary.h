// The closing lines of a conversion.
#pragma once

#include <string>

#include "base/terminal.h"
#include "pipeline/convert.h"

namespace ctq::report {

/// Layers by decision and format, fallbacks, bytes in and out, time, peak memory, worst layer when it was
/// measured.
std::string run_summary(const pipeline::Result& result, const Paint& paint = {});

}  // namespace ctq::report
