// Hadamard transforms of runs of elements.
#pragma once

#include "linalg/kernels/gpu/kernels.h"

namespace ctq::linalg::gpu {

int hadamard(float* x, int64_t count, int64_t n, bool regular, float normalise, Queue queue);

}  // namespace ctq::linalg::gpu
