// Which of several scales suits a run of columns best.
#pragma once

#include "linalg/kernels/gpu/kernels.h"

namespace ctq::linalg::gpu {

int search_runs(Code code, const SearchRuns& runs, Queue queue);

}  // namespace ctq::linalg::gpu
