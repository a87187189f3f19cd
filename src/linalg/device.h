// Where tensors are computed on.
#pragma once

#include <cstdint>
#include <exception>
#include <string>

#include <c10/core/Device.h>

namespace ctq::linalg {

/// "cpu", "cuda" or "cuda:N" to a device that works. LibTorch's CUDA libraries are loaded here, the first
/// time a GPU is named.
/// throws  Error(kFailure) when there is no such device, with the reason; never another device than the one
///         named
at::Device open_device(const std::string& name);

/// Bytes that can still be allocated on a GPU.
uint64_t free_memory(at::Device device);

/// Gives memory that LibTorch keeps for later tensors back to a GPU; nothing on the CPU.
void free_cached_memory(at::Device device);

/// Whether an operation of LibTorch ended because there was no memory for it, on any device.
bool is_out_of_memory(const std::exception& error);

/// CPU threads of all later arithmetic.
void set_threads(int threads);

/// Has freed memory stay with the process for later tensors, in huge pages where the system offers them: far
/// fewer pages to fetch and to clear. Call before the first tensor.
void keep_freed_memory();

/// Has freed memory go back to the system at once. Call before the first tensor, instead of
/// keep_freed_memory().
void return_freed_memory();

/// The cores this process may run on: those that it is bound to, as far as its control group's quota allows.
int available_cores();

/// Of these, the ones that no other process runs on just now; at least one.
int free_cores();

}  // namespace ctq::linalg
