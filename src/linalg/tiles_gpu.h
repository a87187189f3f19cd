// ctq/linalg/tiles.h on a GPU: by kernels of our own where there are some, else in ATen operations. The
// arguments are the door's.
#pragma once

#include "linalg/tiles.h"

namespace ctq::linalg::on_gpu {

Extent extent(const at::Tensor& weight);
at::Tensor tile_amax(const at::Tensor& weight, Tiling tiling);
TileCodes quantize_tiles(const at::Tensor& weight, Tiling tiling, TileCoding coding, bool* finite);
at::Tensor encode_tiles(const at::Tensor& weight, Tiling tiling, Code code, bool divide,
                        const at::Tensor& factor);
at::Tensor decode_tiles(const at::Tensor& codes, Code code, Tiling tiling, const at::Tensor& decode);
at::Tensor pack_nibbles(const at::Tensor& codes, bool even_is_high);

}  // namespace ctq::linalg::on_gpu
