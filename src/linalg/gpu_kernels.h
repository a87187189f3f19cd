// Kernels of our own on a GPU (kernels/gpu), where they were built.
#pragma once

#include <ATen/core/Tensor.h>

#include "linalg/kernels/gpu/kernels.h"

namespace ctq::linalg {

/// Those for what is computed with this tensor; null: on the CPU, for other types than float32, and where the
/// shared object is not there, is another version's or cannot run there, which is warned of once.
const gpu::Kernels* gpu_kernels(const at::Tensor& like);
/// Those of a device for what does not depend on a type.
const gpu::Kernels* gpu_kernels(at::Device device);

/// The stream that LibTorch's operations go to.
gpu::Queue gpu_queue(at::Device device);

/// throws  c10::Error where one of them is elsewhere: kernels get addresses alone
void check_device(at::Device device, at::TensorList tensors);

/// throws  c10::Error where status is not 0
void check_launch(const gpu::Kernels& kernels, int status);

}  // namespace ctq::linalg
