// ctq/linalg/tiles.h in ATen operations, for devices without kernels of our own. The arguments are the
// door's.
#pragma once

#include "linalg/tiles.h"

namespace ctq::linalg::aten {

/// Counts one by one what the kernels only notice: non-finite values, and the largest magnitude of the
/// others.
Extent extent(const at::Tensor& weight);
at::Tensor tile_amax(const at::Tensor& weight, Tiling tiling);
TileCodes quantize_tiles(const at::Tensor& weight, Tiling tiling, TileCoding coding, bool* finite);
at::Tensor encode_tiles(const at::Tensor& weight, Tiling tiling, Code code, bool divide,
                        const at::Tensor& factor);
at::Tensor decode_tiles(const at::Tensor& codes, Code code, Tiling tiling, const at::Tensor& decode);
at::Tensor pack_nibbles(const at::Tensor& codes, bool even_is_high);

}  // namespace ctq::linalg::aten
