// auto: one pass under the best second moment that is known, columns in act order.
#include "optimize/second_moment.h"

namespace ctq::optimize {

constinit const Optimizer kAuto =
    one_pass_optimizer("auto", {.moment = true, .implied = true, .recorded = true});

}  // namespace ctq::optimize
