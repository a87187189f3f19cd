// Computed values as a file holds them.
#pragma once

#include <ATen/core/Tensor.h>

#include "model/checkpoint.h"

namespace ctq::model {

/// Values in the type that the tensor's info has, rounded to nearest, on the CPU.
/// throws  Error(kFailure) naming the tensor where finite values go beyond the range of that type
at::Tensor in_stored_type(const Checkpoint::Entry& entry, const at::Tensor& values);

}  // namespace ctq::model
