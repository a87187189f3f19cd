// Tiles of a matrix: largest magnitudes, codes and values; and what decoding loses.
#pragma once

#include "linalg/kernels/gpu/kernels.h"

namespace ctq::linalg::gpu {

int tile_amax(Source source, const void* weight, const Tiles& tiles, uint32_t* bits, Queue queue);
int encode_tiles(Source source, Code code, bool divide, const void* weight, const Tiles& tiles,
                 const float* factor, void* codes, Queue queue);
int decode_tiles(Code code, const void* codes, const Tiles& tiles, const float* scale, float* values,
                 Queue queue);
int pack_nibbles(const void* codes, int64_t n, bool even_is_high, void* packed, Queue queue);
int difference_sums(Source original_source, const void* original, Source decoded_source, const void* decoded,
                    int64_t n, double* sums, Queue queue);

}  // namespace ctq::linalg::gpu
