// The error of each quantized layer, as stored.
#pragma once

#include <string>
#include <vector>

#include "pipeline/convert.h"

namespace ctq::report {

/// What the layers say together.
struct QualitySummary {
  size_t layers = 0;
  size_t below_threshold = 0;  ///< SQNR below the threshold, or not finite values
  double mean_sqnr_db = 0;     ///< arithmetic mean of the finite dB values
  double total_sqnr_db = 0;    ///< of all layers' errors and weights taken together
  double mean_weight_rel = 0;  ///< arithmetic mean of the finite values
};

/// `findings` count as layers below the threshold: they were to be quantized and could not be.
QualitySummary summarize(const std::vector<pipeline::LayerError>& layers, size_t findings,
                         double threshold_db);

/// Table sorted by name, worst layers, summary.
std::string quality_table(const pipeline::Result& result, double threshold_db);

/// {"threshold_db", "layers": [{"name", "format", "mse", "sqnr_db", "variance_db", "weight_rel", "max_error",
/// "numel"}], "kept":
/// [{"name", "reason"}], "summary": {...}}. Infinite values are null.
std::string quality_json(const pipeline::Result& result, double threshold_db);

}  // namespace ctq::report
