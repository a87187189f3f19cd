// The CPU kernels behind ctq/linalg/tiles.h: one table of functions per instruction set, all with the same
// bits.
#pragma once

#include <cstdint>

#include "linalg/code.h"
#include "linalg/kernels/blocks.h"

namespace ctq::linalg::cpu {

/// A band: `rows` consecutive rows of `cols` contiguous elements, cut into tiles of `tile_cols` columns (the
/// last may be narrower) that are as high as the band. Per-tile arrays have ceil(cols / tile_cols) elements.
struct Band {
  int64_t rows;
  int64_t cols;
  int64_t tile_cols;
};

struct TileKernels {
  /// "avx512", "avx2" or "baseline".
  const char* isa;
  /// bits[t] = float32 bit pattern of the largest magnitude of tile t; at least kInfinityBits when the tile
  /// holds a NaN or an infinity.
  void (*amax)(Source source, const void* weight, Band band, uint32_t* bits);
  /// codes = round(w * factor[t]) or round(w / factor[t]), and round(0) where factor[t] is 0.
  void (*encode)(Source source, Code code, bool divide, const void* weight, Band band, const float* factor,
                 void* codes);
  /// values = value of the code * decode[t].
  void (*decode)(Code code, const void* codes, Band band, const float* decode, float* values);
  /// Writes n bytes: of each pair of codes the low halves.
  void (*pack_nibbles)(const void* codes, int64_t n, bool even_is_high, void* packed);
};

namespace baseline {
extern const TileKernels kKernels;
}
#ifdef CTQ_X86_KERNELS
namespace avx2 {
extern const TileKernels kKernels;
}
namespace avx512 {
extern const TileKernels kKernels;
}
#endif

/// The table named `isa`; null when it was not compiled in or this machine cannot run it.
const TileKernels* find_kernels(const char* isa);

/// The fastest table that this machine can run and CTQ_KERNELS does not forbid; chosen once.
const TileKernels& kernels();

}  // namespace ctq::linalg::cpu
