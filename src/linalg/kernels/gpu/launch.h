// What kernels need of CUDA besides the language. Where their source is compiled for a CPU, to test it, an
// emulation of CUDA comes first (-include).
#pragma once

#include <cstddef>

#ifdef __CUDACC__
#include <cuda_runtime.h>

#define CTQ_UNROLL _Pragma("unroll")
#define CTQ_LOOP _Pragma("unroll 1")
#define CTQ_DYNAMIC_SHARED(type, name) extern __shared__ type name[]

namespace ctq::linalg::gpu {

/// kernel<<<grid, block, shared bytes>>>(arguments), more than 48 KiB of shared memory included. Returns a
/// cudaError_t, which is not remembered.
template <typename... Parameters, typename... Arguments>
int launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared, int device, void* stream,
           const Arguments&... arguments) {
  constexpr size_t kUnasked = 48 * 1024;
  cudaError_t status = cudaSetDevice(device);
  if (status == cudaSuccess && shared > kUnasked)
    status = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                  cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
  if (status == cudaSuccess) kernel<<<grid, block, shared, static_cast<cudaStream_t>(stream)>>>(arguments...);
  const cudaError_t launched = cudaGetLastError();
  return status == cudaSuccess ? launched : status;
}

/// Whether the device can load a kernel: a cudaError_t, which is not remembered.
inline int loads(void (*kernel)(), int device) {
  cudaError_t status = cudaSetDevice(device);
  cudaFuncAttributes attributes;
  if (status == cudaSuccess)
    status = cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(kernel));
  (void)cudaGetLastError();
  return status;
}

}  // namespace ctq::linalg::gpu

#elif !defined(CTQ_EMULATED_GPU)
#error "compile with nvcc, or with an emulation of CUDA"
#endif
