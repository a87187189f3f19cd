#include "linalg/device.h"

#include <dlfcn.h>
#include <malloc.h>
#include <sched.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <limits>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include "base/error.h"

namespace ctq::linalg {
namespace {

// What others do for a moment, such as freeing the memory of a run that has just ended, is not to halve this
// one's speed.
constexpr int kLooks = 16;
constexpr std::chrono::milliseconds kBetweenLooks{4};

/// Of this process: a pool's threads spin for a while before they sleep.
int running_threads() {
  int running = 0;
  std::error_code gone;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task", gone)) {
    std::ifstream file(thread.path() / "stat");
    std::string stat;
    std::getline(file, stat);
    const size_t name_end = stat.rfind(')');  // "id (name) state ..."
    if (name_end != std::string::npos && stat.compare(name_end, 3, ") R") == 0) ++running;
  }
  return running;
}

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

bool is_loaded_back_end(const std::string& name) {
  return c10::impl::hasDeviceGuardImpl(at::kPrivateUse1) &&
         name == c10::get_privateuse1_backend(/*lower_case=*/true);
}

at::Device open_device(const std::string& name) {
  if (name == "cpu") return at::kCPU;
  if (is_loaded_back_end(name)) return {at::kPrivateUse1, 0};
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
  const at::Device opened = device.has_index() ? device : at::Device(at::kCUDA, 0);
  c10::impl::VirtualGuardImpl(opened.type()).setDevice(opened);  // what is asked without naming a device
  return opened;
}

uint64_t free_memory(at::Device device) {
  return at::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).first;
}

void free_cached_memory(at::Device device) {
  const bool has_cache = device.is_cuda() ? at::globalContext().hasCUDA() : is_gpu(device);
  if (has_cache) at::getDeviceAllocator(device.type())->emptyCache();
}

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) || dynamic_cast<const c10::OutOfMemoryError*>(&error))
    return true;
  // The allocator of the CPU has no exception of its own.
  return dynamic_cast<const c10::Error*>(&error) &&
         std::string_view(error.what()).find("DefaultCPUAllocator") != std::string_view::npos;
}

void set_threads(int threads) { at::set_num_threads(threads); }

void keep_freed_memory() {
  ::setenv("THP_MEM_ALLOC_ENABLE", "1", /*overwrite=*/0);  // read by LibTorch's CPU allocator
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20);                   // glibc takes no more
  ::mallopt(M_TRIM_THRESHOLD, 64 << 20);
  ::mallopt(M_ARENA_MAX, 2);  // what one thread freed serves the others
}

void return_freed_memory() {
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 4 << 20);
  ::mallopt(M_ARENA_MAX, 2);
}

int available_cores() {
  cpu_set_t bound;
  CPU_ZERO(&bound);
  const int cores = sched_getaffinity(0, sizeof bound, &bound) == 0 ? std::max(1, CPU_COUNT(&bound)) : 1;
  // "max 100000", or microseconds of all cores in each such period.
  std::ifstream quota("/sys/fs/cgroup/cpu.max");
  double share = 0, period = 0;
  if (!(quota >> share >> period) || period <= 0) return cores;
  return std::clamp(static_cast<int>(share / period), 1, cores);
}

int free_cores() {
  // Whatever others run now; a load average would remember the run before this one.
  int busy = std::numeric_limits<int>::max();
  for (int look = 0; look < kLooks && busy > 0; ++look) {
    if (look > 0) std::this_thread::sleep_for(kBetweenLooks);
    std::ifstream file("/proc/loadavg");
    std::string averages;
    int running = 0;
    for (int i = 0; i < 3; ++i) file >> averages;
    if (!(file >> running)) return available_cores();
    busy = std::min(busy, running - running_threads());
  }
  const int cores = available_cores();
  return std::clamp(cores - busy, 1, cores);
}

}  // namespace ctq::linalg
