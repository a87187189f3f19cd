// What each layer loses in several formats.
#pragma once

#include <string>
#include <vector>

#include "pipeline/format_errors.h"

namespace ctq::report {

/// One line per layer and format, then totals by format.
std::string format_errors_table(const std::vector<pipeline::LayerFormatErrors>& layers);

/// {"layers": [{"name", "bytes", "formats": [{"name", "format", "mse", "sqnr_db", ..., "bytes"}]}]}, error
/// figures as in the quality report.
std::string format_errors_json(const std::vector<pipeline::LayerFormatErrors>& layers);

}  // namespace ctq::report
