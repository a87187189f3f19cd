// Where tensors are computed on.
#pragma once

#include <string>

#include <c10/core/Device.h>

namespace ctq::linalg {

/// "cpu", "cuda" or "cuda:N" to a device that works. LibTorch's CUDA libraries are loaded here, the first
/// time a GPU is named. throws  Error(kFailure) when there is no such device, with the reason; never another
/// device than the one named
at::Device open_device(const std::string& name);

/// CPU threads of all later arithmetic.
void set_threads(int threads);

/// Has LibTorch take memory for tensors in huge pages where the system offers them: far fewer page faults.
/// Call before the first tensor.
void use_huge_pages();

/// The cores this process may run on.
int available_cores();

}  // namespace ctq::linalg
