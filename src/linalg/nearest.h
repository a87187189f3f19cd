// The grids in ATen operations, for devices and types without kernels of our own.
#pragma once

#include <ATen/core/Tensor.h>

#include "linalg/code.h"

namespace ctq::linalg {

/// Nearest value of the code. u: float32 or float64, in the scaled domain.
at::Tensor nearest(const at::Tensor& u, Code code);

}  // namespace ctq::linalg
