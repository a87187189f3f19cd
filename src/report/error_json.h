// The figures of a layer's error as JSON, the same in every report.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "ctq/metrics/error.h"

namespace ctq::report {

/// Whether a layer is marked in a report.
bool is_below(const metrics::WeightError& error, double threshold_db);

/// null for what JSON cannot say: NaN and infinities.
nlohmann::ordered_json number(double value);

/// name: of the weight; format: its label.
nlohmann::ordered_json error_json(const std::string& name, const std::string& format,
                                  const metrics::WeightError& error);

}  // namespace ctq::report
