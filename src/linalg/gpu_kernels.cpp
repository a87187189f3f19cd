#include "linalg/gpu_kernels.h"

#include <dlfcn.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>

#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include "base/log.h"

namespace ctq::linalg {
namespace {

namespace fs = std::filesystem;
using Find = decltype(&ctq_gpu_kernels);

constexpr const char* kEntry = "ctq_gpu_kernels";
constexpr const char* kObject = "libconvert_to_quant_gpu.so";

/// The folder of the library that this is part of, or of the program; empty where the system does not tell.
fs::path own_folder() {
  Dl_info here{};
  const bool found = dladdr(reinterpret_cast<const void*>(&own_folder), &here) != 0 && here.dli_fname;
  // Of a program that is what it was called by, which may be a word that was looked for in PATH.
  const bool is_path = found && std::strchr(here.dli_fname, '/') != nullptr;
  std::error_code gone;
  return fs::canonical(is_path ? here.dli_fname : "/proc/self/exe", gone).parent_path();
}

Find find_entry(std::string& reason) {
  if (void* loaded = dlsym(RTLD_DEFAULT, kEntry)) return reinterpret_cast<Find>(loaded);
  const fs::path folder = own_folder();
  reason = std::string(kObject) + " is not beside the program";
  if (folder.empty()) return nullptr;
  // Where it was built; installed, seen from the program, and from the library.
  for (const fs::path& place : {folder, folder / CTQ_GPU_FOLDER, folder / "convert_to_quant"}) {
    const std::string path = (place / kObject).string();
    std::error_code gone;
    if (!fs::exists(path, gone)) continue;
    if (void* object = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL))
      if (void* entry = dlsym(object, kEntry)) return reinterpret_cast<Find>(entry);
    const char* failed = dlerror();
    reason = failed ? failed : path;
    return nullptr;
  }
  return nullptr;
}

void warn_of_stand_in(const std::string& reason) {
  warn("no kernels of our own for the GPU ({}): LibTorch's operations stand in for them, many times slower",
       reason);
}

const gpu::Kernels* open_kernels() {
  std::string reason;
  const Find find = find_entry(reason);
  const gpu::Kernels* kernels = find ? find() : nullptr;
  if (kernels && kernels->layout != gpu::kLayout) {
    reason = std::string(kObject) + " is of another version";
    kernels = nullptr;
  }
  if (!kernels) warn_of_stand_in(reason);
  return kernels;
}

/// Null where the driver, or the device, cannot run them.
const gpu::Kernels* usable_on(int device) {
  static const gpu::Kernels* const kernels = open_kernels();
  if (!kernels) return nullptr;
  static std::mutex mutex;
  static std::map<int, bool> usable;
  const std::lock_guard lock(mutex);
  const auto [known, asked_first] = usable.try_emplace(device, false);
  if (asked_first) {
    const int status = kernels->usable(device);
    known->second = status == 0;
    if (status != 0) warn_of_stand_in(kernels->message(status));
  }
  return known->second ? kernels : nullptr;
}

int index_of(at::Device device) { return device.has_index() ? device.index() : 0; }

}  // namespace

const gpu::Kernels* gpu_kernels(const at::Tensor& like) {
  return like.scalar_type() == at::kFloat ? gpu_kernels(like.device()) : nullptr;
}

const gpu::Kernels* gpu_kernels(at::Device device) {
  return device.is_cpu() ? nullptr : usable_on(index_of(device));
}

gpu::Queue gpu_queue(at::Device device) {
  const c10::Stream stream = c10::impl::VirtualGuardImpl(device.type()).getStream(device);
  return {index_of(device), stream.native_handle()};
}

void check_device(at::Device device, at::TensorList tensors) {
  for (const at::Tensor& tensor : tensors)
    TORCH_INTERNAL_ASSERT(!tensor.defined() || tensor.device() == device, "a kernel on ", device,
                          " was given a tensor on ", tensor.device());
}

void check_launch(const gpu::Kernels& kernels, int status) {
  TORCH_CHECK_WITH(OutOfMemoryError, status != gpu::kOutOfMemory,
                   "a kernel could not be started: ", kernels.message(status));
  TORCH_CHECK(status == 0, "a kernel could not be started: ", kernels.message(status));
}

}  // namespace ctq::linalg
