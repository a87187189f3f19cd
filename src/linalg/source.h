// The element types of weights, for kernels.
#pragma once

#include <ATen/core/Tensor.h>

#include "linalg/kernels/blocks.h"

namespace ctq::linalg {

/// weight: of a float type of 16 bits or more
Source source_of(const at::Tensor& weight);

}  // namespace ctq::linalg
