// The closing lines of a conversion.
#pragma once

#include <string>

#include "base/terminal.h"
#include "pipeline/convert.h"

namespace ctq::report {

/// Layers by decision and format, fallbacks, bytes in and out, time, peak memory, worst layer when it was
/// measured.
std::string run_summary(const pipeline::Result& result, const Paint& paint = {});

/// "Done: 6.5 GiB (54.2 %), weights 31.62 dB (of one row in 16). Check: convert_to_quant verify OUT
/// --original IN": no error where nothing was quantized or none is known, no command where nothing was.
/// input: as the command line names it
std::string closing_line(const pipeline::Result& result, const std::string& input);

}  // namespace ctq::report
