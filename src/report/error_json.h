// The figures of a layer's error as JSON, the same in every report.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "metrics/error.h"
#include "pipeline/convert.h"

namespace ctq::report {

/// Whether a layer is marked in a report.
bool is_below(const metrics::WeightError& error, double threshold_db);

/// null for what JSON cannot say: NaN and infinities.
nlohmann::ordered_json number(double value);

/// name: of the weight; format: its label.
nlohmann::ordered_json error_json(const std::string& name, const std::string& format,
                                  const metrics::WeightError& error);

/// The same with what an optimizer did.
nlohmann::ordered_json layer_json(const pipeline::LayerError& layer);

}  // namespace ctq::report
