// gptq: one pass under the second moment of recorded rows. Frantar et al., "GPTQ", arXiv:2210.17323.
#include "optimize/second_moment.h"

namespace ctq::optimize {
namespace {

linalg::ColumnOrder order(const Settings& settings) { return settings.gptq_order; }

}  // namespace

constinit const Optimizer kGptq = {
    .name = "gptq",
    .needs = {.moment = true, .implied = true, .recorded = true},
    .by_rows = true,
    .by_segments = true,
    .order = order,
    .cost = one_pass_cost,
    .footprint = one_pass_footprint,
    .round = round_one_pass,
};

}  // namespace ctq::optimize
