// rtn: every value to the nearest code.
#include <algorithm>

#include <ATen/ATen.h>

#include "optimize/second_moment.h"

namespace ctq::optimize {
namespace {

/// Nearest codes are known by their absmax scales, unless others are asked for.
Scales scales_to_nearest(const Layer& layer, const Settings& settings) {
  return settings.scales == Scales::kUsual ? Scales::kAbsmax : scales_for(layer, settings.scales);
}

/// Round to nearest with the scales of least ||E||.
Rounding round_to_nearest(const Layer& layer, const Settings& settings, const SecondMoment*) {
  const Scales scales = scales_to_nearest(layer, settings);
  const double unit = std::max(layer.weight.square().sum(at::kDouble).item<double>(), 1e-300);
  const auto objective = [&](const at::Tensor& values, const at::Tensor& scale) {
    return error_of(layer, values, scale).square().sum(at::kDouble).item<double>() / unit;
  };
  Rounding rounding;
  rounding.values = layer.nearest;
  rounding.scale = layer.scale;
  rounding.method = "rtn";
  rounding.objective = "mse";
  if (scales == Scales::kAbsmax) return rounding;
  rounding.nearest_objective = rounding.objective_value = objective(layer.nearest, layer.scale);
  const Layer searched = search_scales(layer, /*h=*/{});
  at::Tensor scale = searched.scale;
  if (scales == Scales::kRefit) scale = refit_scales(layer, searched.nearest, scale, /*h=*/{});
  const double value = objective(searched.nearest, scale);
  rounding.guarded = !(value < rounding.nearest_objective);
  if (rounding.guarded) return rounding;
  rounding.values = searched.nearest;
  rounding.scale = scale;
  rounding.objective_value = value;
  return rounding;
}

double cost(const Settings&, double) { return 1; }

Footprint footprint(const Settings& settings, const Space& space) {
  return {.rows = searches_scales(settings, space.codec) ? kSearchedRows : 0, .moments = 0};
}

}  // namespace

constinit const Optimizer kNearest = {
    .name = "rtn", .cost = cost, .footprint = footprint, .round = round_to_nearest};

}  // namespace ctq::optimize
