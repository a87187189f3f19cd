// auto: one pass under the best second moment that is known, columns in act order.
#include "optimize/second_moment.h"

namespace ctq::optimize {

constinit const Optimizer kAuto = {
    .name = "auto",
    .needs = {.moment = true, .implied = true, .recorded = true},
    .by_rows = true,
    .by_segments = true,
    .cost = one_pass_cost,
    .footprint = one_pass_footprint,
    .round = round_one_pass,
};

}  // namespace ctq::optimize
