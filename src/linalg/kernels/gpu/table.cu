#include "linalg/kernels/gpu/hadamard.cuh"
#include "linalg/kernels/gpu/kernels.h"
#include "linalg/kernels/gpu/launch.h"
#include "linalg/kernels/gpu/ldlq.cuh"
#include "linalg/kernels/gpu/scale_search.cuh"
#include "linalg/kernels/gpu/tiles.cuh"

namespace ctq::linalg::gpu {
namespace {

__global__ void probe() {}

int usable(int device) { return loads(probe, device); }

const char* message(int status) { return cudaGetErrorString(static_cast<cudaError_t>(status)); }

}  // namespace
}  // namespace ctq::linalg::gpu

extern "C" __attribute__((visibility("default"))) const ctq::linalg::gpu::Kernels* ctq_gpu_kernels() {
  using namespace ctq::linalg::gpu;
  static const Kernels kernels = {kLayout,      usable,          round_block,  refine_block,
                                  search_runs,  tile_amax,       encode_tiles, decode_tiles,
                                  pack_nibbles, difference_sums, hadamard,     message};
  return &kernels;
}
