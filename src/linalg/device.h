// Where tensors are computed on.
#pragma once

#include <cstdint>
#include <exception>
#include <string>

#include <c10/core/Device.h>

namespace ctq::linalg {

/// Not the CPU: memory of its own, and operations that are many at a time or slow.
inline bool is_gpu(at::Device device) { return !device.is_cpu(); }

/// Whether that is the name of a back end which is loaded into LibTorch beside CUDA, as tests do.
bool is_loaded_back_end(const std::string& name);

/// "cpu", "cuda", "cuda:N" or a loaded back end to a device that works. LibTorch's CUDA libraries are loaded
/// here, the first time a GPU is named.
/// throws  Error(kFailure) when there is no such device, with the reason; never another device than the one
///         named
at::Device open_device(const std::string& name);

/// Bytes that can still be allocated on a GPU.
uint64_t free_memory(at::Device device);

/// Gives memory that LibTorch keeps for later tensors back to a GPU; nothing on the CPU.
void free_cached_memory(at::Device device);

/// Whether an operation of LibTorch ended because there was no memory for it, on any device.
bool is_out_of_memory(const std::exception& error);

/// Calls work(device), and work of the CPU where the memory of a GPU runs out. For what is done besides
/// layers, whose place is chosen by their size.
template <typename Work>
auto on_device_or_cpu(at::Device device, const Work& work) {
  try {
    return work(device);
  } catch (const std::exception& error) {
    if (!is_gpu(device) || !is_out_of_memory(error)) throw;
  }
  free_cached_memory(device);
  return work(at::Device(at::kCPU));
}

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
