#include "linalg/gpu_kernels.h"

#include <dlfcn.h>

#include <filesystem>
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

/// The folder of the program, or of the library that this is part of.
fs::path own_folder() {
  Dl_info here{};
  if (dladdr(reinterpret_cast<const void*>(&own_folder), &here) == 0 || here.dli_fname == nullptr) return {};
  std::error_code gone;
  return fs::canonical(here.dli_fname, gone).parent_path();
}

Find find_entry(std::string& reason) {
  if (void* loaded = dlsym(RTLD_DEFAULT, kEntry)) return reinterpret_cast<Find>(loaded);
  const fs::path folder = own_folder();
  for (const fs::path& place : {folder, folder / "../lib/convert_to_quant", folder / "convert_to_quant"}) {
    const std::string path = (place / kObject).string();
    std::error_code gone;
    if (!fs::exists(path, gone)) continue;
    if (void* object = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL))
      if (void* entry = dlsym(object, kEntry)) return reinterpret_cast<Find>(entry);
    const char* failed = dlerror();
    reason = failed ? failed : path;
    return nullptr;
  }
  reason = std::string(kObject) + " is not beside the program";
  return nullptr;
}

const gpu::Kernels* open_kernels() {
  std::string reason;
  const Find find = find_entry(reason);
  const gpu::Kernels* kernels = find ? find() : nullptr;
  if (kernels && kernels->size != sizeof(gpu::Kernels)) {
    reason = std::string(kObject) + " is of another version";
    kernels = nullptr;
  }
  if (!kernels)
    warn("no kernels of our own for the GPU ({}): LibTorch's operations stand in for them, many times slower",
         reason);
  return kernels;
}

}  // namespace

const gpu::Kernels* gpu_kernels(const at::Tensor& like) {
  return like.scalar_type() == at::kFloat ? gpu_kernels(like.device()) : nullptr;
}

const gpu::Kernels* gpu_kernels(at::Device device) {
  if (device.is_cpu()) return nullptr;
  static const gpu::Kernels* const kernels = open_kernels();
  return kernels;
}

gpu::Queue gpu_queue(at::Device device) {
  const c10::Stream stream = c10::impl::VirtualGuardImpl(device.type()).getStream(device);
  return {device.has_index() ? device.index() : 0, stream.native_handle()};
}

void check_launch(const gpu::Kernels& kernels, int status) {
  TORCH_CHECK(status == 0, "a kernel could not be started: ", kernels.message(status));
}

}  // namespace ctq::linalg
