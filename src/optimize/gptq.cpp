// gptq: one pass under the second moment of recorded rows. Frantar et al., "GPTQ", arXiv:2210.17323.
#include "optimize/second_moment.h"

namespace ctq::optimize {
namespace {

linalg::ColumnOrder order(const Settings& settings) { return settings.gptq_order; }

}  // namespace

constinit const Optimizer kGptq =
    one_pass_optimizer("gptq", {.moment = true, .implied = true, .recorded = true}, order);

}  // namespace ctq::optimize
