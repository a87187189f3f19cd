// direct: one pass under a second moment that is made from the weight.
#include "optimize/second_moment.h"

namespace ctq::optimize {

constinit const Optimizer kDirect = one_pass_optimizer("direct", {.moment = true});

}  // namespace ctq::optimize
