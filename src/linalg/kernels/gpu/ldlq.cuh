// LDLQ and coordinate descent on a block of columns: the part that goes column by column.
#pragma once

#include "linalg/kernels/gpu/kernels.h"

namespace ctq::linalg::gpu {

int round_block(Code code, const RoundingBlock& block, View<const float> target, RowCosts costs, Queue queue);
int refine_block(Code code, const RoundingBlock& block, View<const float> gradient, View<float> change,
                 Queue queue);

}  // namespace ctq::linalg::gpu
