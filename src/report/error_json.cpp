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
          {"non_finite", error.non_finite}};
}

}  // namespace ctq::report
