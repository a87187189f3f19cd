// Histograms as inline SVG.
#pragma once

#include <string>
#include <string_view>

#include "metrics/histogram.h"

namespace ctq::report {

/// The values of a weight before (filled) and after quantization (outlined) over one range, and the error
/// beside them. Heights are logarithms of counts. name: of the weight
std::string histogram_charts(std::string_view name, const metrics::WeightHistograms& histograms);

}  // namespace ctq::report
