#include <cstring>

#include "linalg/kernels/cpu/ldlq_kernels.h"
#include "linalg/kernels/cpu/tile_kernels.h"

namespace ctq::linalg::cpu {

const LdlqKernels* find_ldlq_kernels(const char* isa) {
  if (std::strcmp(isa, "baseline") == 0) return &baseline::kLdlqKernels;
#ifdef CTQ_X86_KERNELS
  if (std::strcmp(isa, "avx2") == 0) return &avx2::kLdlqKernels;
  if (std::strcmp(isa, "avx512") == 0) return &avx512::kLdlqKernels;
#endif
  return nullptr;
}

const LdlqKernels& ldlq_kernels() {
  static const LdlqKernels& chosen = *find_ldlq_kernels(kernels().isa);
  return chosen;
}

}  // namespace ctq::linalg::cpu
