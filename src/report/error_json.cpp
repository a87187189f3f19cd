#include "error_json.h"

#include <cmath>

namespace ctq::report {

using nlohmann::ordered_json;

bool is_below(const metrics::WeightError& error, double threshold_db) {
  return error.non_finite > 0 || !(error.sqnr_db >= threshold_db);
}

ordered_json number(double value) {
  return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr);
}

ordered_json error_json(const std::string& name, const std::string& format,
                        const metrics::WeightError& error) {
  return {{"name", name},
          {"format", format},
          {"numel", error.numel},
          {"mse", number(error.mse)},
          {"sqnr_db", number(error.sqnr_db)},
          {"variance_db", number(error.variance_db)},
          {"weight_rel", number(error.weight_rel)},
          {"max_error", number(error.max_error)},
          {"non_finite", error.non_finite},
          {"to_zero", error.to_zero},
          {"rows_to_zero", error.rows_to_zero}};
}

ordered_json layer_json(const pipeline::LayerError& layer) {
  ordered_json json = error_json(layer.name, layer.format, layer.error);
  if (!layer.optimized) return json;
  const pipeline::Optimized& optimized = *layer.optimized;
  ordered_json& optimizer = json["optimizer"] = {{"method", optimized.method},
                                                 {"source", optimized.source},
                                                 {"objective_name", optimized.objective_name},
                                                 {"objective_nearest", number(optimized.nearest_objective)},
                                                 {"objective", number(optimized.objective)},
                                                 {"iterations", optimized.iterations},
                                                 {"stopped_by", optimized.stopped_by},
                                                 {"guarded", optimized.guarded},
                                                 {"seconds", layer.seconds}};
  if (optimized.samples > 0) optimizer["samples"] = optimized.samples;
  if (optimized.nearest_error) optimizer["nearest_error"] = number(*optimized.nearest_error);
  if (optimized.subspace) {
    optimizer["subspace_rel_nearest"] = number(optimized.subspace->nearest);
    optimizer["subspace_rel"] = number(optimized.subspace->stored);
  }
  if (optimized.output) {
    optimizer["output_rel_nearest"] = number(optimized.output->nearest);
    optimizer["output_rel"] = number(optimized.output->stored);
  }
  if (const auto& use = optimized.calibration)
    optimizer["calibration"] = {{"distinct_rows", use->rows},
                                {"groups", use->groups},
                                {"effective_rank", number(use->effective_rank)},
                                {"damping", number(use->damping)},
                                {"implied_share", number(use->implied_share)},
                                {"used", use->used}};
  return json;
}

}  // namespace ctq::report
