// direct: one pass under a second moment that is made from the weight.
#include "optimize/second_moment.h"

namespace ctq::optimize {

constinit const Optimizer kDirect = {
    .name = "direct",
    .needs = {.moment = true},
    .by_rows = true,
    .by_segments = true,
    .cost = one_pass_cost,
    .footprint = one_pass_footprint,
    .round = round_one_pass,
};

}  // namespace ctq::optimize
