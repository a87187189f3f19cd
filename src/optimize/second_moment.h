// What the optimizers that minimise under a second moment share.
#pragma once

#include "optimize/optimizer.h"

namespace ctq::optimize {

/// Matrices that rounding in one pass holds.
inline constexpr double kOnePassRows = 9, kSearchedRows = 13;

/// Error feedback takes a product with all columns for each.
inline double one_pass_cost(const Settings&, double columns) { return 4 + columns / 80; }

/// H, its factor, and H damped; of segments their factors, and a block at a time. rows: as Footprint
Footprint moment_footprint(const Settings& settings, const Space& space, double rows);
Footprint one_pass_footprint(const Settings& settings, const Space& space);

OnePassSettings one_pass_settings(const Layer& layer, const Settings& settings, const SecondMoment& moment);
/// Under the moment's own name, or the optimizer's.
Rounding round_one_pass(const Layer& layer, const Settings& settings, const SecondMoment* moment);

/// The row of one that rounds in one pass. order: as Optimizer::order
constexpr Optimizer one_pass_optimizer(std::string_view name, Needs needs,
                                       linalg::ColumnOrder (*order)(const Settings&) = nullptr) {
  return {.name = name,
          .needs = needs,
          .by_rows = true,
          .by_segments = true,
          .order = order,
          .cost = one_pass_cost,
          .footprint = one_pass_footprint,
          .round = round_one_pass};
}

}  // namespace ctq::optimize
