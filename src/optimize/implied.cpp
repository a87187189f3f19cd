// implied: one pass under the second moment that the checkpoint implies.
#include "optimize/second_moment.h"

namespace ctq::optimize {

constinit const Optimizer kImplied = one_pass_optimizer("implied", {.moment = true, .implied = true});

}  // namespace ctq::optimize
