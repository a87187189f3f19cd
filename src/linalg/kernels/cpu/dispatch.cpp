#include <cstdlib>
#include <cstring>

#include "linalg/kernels/cpu/tile_kernels.h"

namespace ctq::linalg::cpu {
namespace {

constexpr const char* kFastestFirst[] = {"avx512", "avx2", "baseline"};

const TileKernels& choose() {
  const char* wanted = std::getenv("CTQ_KERNELS");
  bool reached = wanted == nullptr || *wanted == '\0';
  for (const char* isa : kFastestFirst) {
    reached = reached || std::strcmp(isa, wanted) == 0;
    const TileKernels* found = reached ? find_kernels(isa) : nullptr;
    if (found != nullptr) return *found;
  }
  return baseline::kKernels;
}

}  // namespace

const TileKernels* find_kernels(const char* isa) {
  if (std::strcmp(isa, "baseline") == 0) return &baseline::kKernels;
#ifdef CTQ_X86_KERNELS
  __builtin_cpu_init();
  if (std::strcmp(isa, "avx2") == 0 && __builtin_cpu_supports("avx2")) return &avx2::kKernels;
  if (std::strcmp(isa, "avx512") == 0 && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    return &avx512::kKernels;
  }
#endif
  return nullptr;
}

const TileKernels& kernels() {
  static const TileKernels& chosen = choose();
  return chosen;
}

}  // namespace ctq::linalg::cpu
