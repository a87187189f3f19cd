#include "ctq/optimize/optimizer.h"

namespace ctq::optimize {

std::string_view method_name(Method method) {
  switch (method) {
    case Method::kNearest: return "rtn";
    case Method::kDirect: return "direct";
    case Method::kImplied: return "implied";
  }
  return "";
}

Rounding round_layer(const Layer& layer, const Settings& settings, const std::optional<at::Tensor>& implied) {
  if (settings.method == Method::kNearest) {
    Rounding rounding;
    rounding.values = layer.nearest;
    rounding.method = "rtn";
    return rounding;
  }
  if (settings.method == Method::kImplied && implied) {
    return round_with_second_moment(
        layer, *implied, {.lambda = settings.implied_lambda, .sweeps = settings.sweeps, .order = linalg::ColumnOrder::kActOrder}, "implied");
  }
  // Damped already, by direct_second_moment.
  return round_with_second_moment(layer, direct_second_moment(layer.weight, settings.direct),
                                  {.sweeps = settings.sweeps, .order = linalg::ColumnOrder::kActOrder}, "direct");
}

}  // namespace ctq::optimize
