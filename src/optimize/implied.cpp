// implied: one pass under the second moment that the checkpoint implies.
#include "optimize/second_moment.h"

namespace ctq::optimize {

constinit const Optimizer kImplied = {
    .name = "implied",
    .needs = {.moment = true, .implied = true},
    .by_rows = true,
    .by_segments = true,
    .cost = one_pass_cost,
    .footprint = one_pass_footprint,
    .round = round_one_pass,
};

}  // namespace ctq::optimize
