#include "linalg/device.h"

#include <dlfcn.h>
#include <malloc.h>
#include <sched.h>
#include <stdlib.h>

#include <algorithm>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/CachingDeviceAllocator.h>

#include "base/error.h"

namespace ctq::linalg {
namespace {

/// LibTorch registers its CUDA back end when this library is loaded. Must happen before the first question
/// about CUDA: LibTorch remembers the answer.
void load_cuda_libraries(const std::string& device) {
  static const bool loaded = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) ||
                             dlopen(CTQ_TORCH_LIBRARY_DIR "/libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);
  if (loaded) return;
  const char* reason = dlerror();
  fail(ErrorCode::kFailure, "device {}: LibTorch's CUDA library cannot be loaded: {}; use --device cpu",
       device, reason ? reason : "unknown reason");
}

}  // namespace

at::Device open_device(const std::string& name) {
  if (name == "cpu") return at::kCPU;
  const at::Device device(name);
  load_cuda_libraries(name);
  if (!at::globalContext().hasCUDA())
    fail(ErrorCode::kFailure, "device {}: no CUDA device found; use --device cpu", name);
  const auto count = at::detail::getCUDAHooks().deviceCount();
  if (device.has_index() && device.index() >= count) {
    fail(ErrorCode::kFailure, "device {}: there are {} CUDA devices, counted from 0", name, count);
  }
  try {
    at::globalContext().lazyInitDevice(at::kCUDA);
  } catch (const c10::Error& error) {
    fail(ErrorCode::kFailure, "device {}: {}", name, error.what_without_backtrace());
  }
  return device.has_index() ? device : at::Device(at::kCUDA, 0);
}

uint64_t free_memory(at::Device device) {
  return at::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).first;
}

void free_cached_memory(at::Device device) {
  if (device.is_cuda() && at::globalContext().hasCUDA()) at::getDeviceAllocator(device.type())->emptyCache();
}

void set_threads(int threads) { at::set_num_threads(threads); }

void use_huge_pages() {
  ::setenv("THP_MEM_ALLOC_ENABLE", "1", /*overwrite=*/0);
}  // read by LibTorch's CPU allocator

void return_freed_memory() {
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 4 << 20);
  ::mallopt(M_ARENA_MAX, 2);
}

int available_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  return sched_getaffinity(0, sizeof cores, &cores) == 0 ? std::max(1, CPU_COUNT(&cores)) : 1;
}

}  // namespace ctq::linalg
