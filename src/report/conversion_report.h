// Everything about a finished conversion, in one file (docs/report.md).
#pragma once

#include <string>

#include "pipeline/convert.h"

namespace ctq::report {

/// result: with the errors measured. input: its path, as it was given
/// As docs/report.schema.json has it. Figures that are not finite are null.
std::string conversion_json(const pipeline::Result& result, const std::string& input);
/// One row per tensor, RFC 4180.
std::string conversion_csv(const pipeline::Result& result);
/// A page that needs nothing else: sizes and time, error by block and of the worst layers, what was kept.
std::string conversion_html(const pipeline::Result& result, const std::string& input);

}  // namespace ctq::report
