// What the GPU's kernels do, done by the CPU's.
#pragma once

#include "linalg/kernels/gpu/kernels.h"

namespace ctq::linalg::twins {

void round(Code code, const RoundingBlock& block, View<const float> target, gpu::RowCosts costs);
void refine(Code code, const RoundingBlock& block, View<const float> gradient, View<float> change);
void search(Code code, const gpu::SearchRuns& runs);
void amax(Source source, const void* weight, const gpu::Tiles& tiles, uint32_t* bits);
void encode(Source source, Code code, bool divide, const void* weight, const gpu::Tiles& tiles,
            const float* factor, void* codes);
void decode(Code code, const void* codes, const gpu::Tiles& tiles, const float* scale, float* values);
void pack(const void* codes, int64_t n, bool even_is_high, void* packed);
void hadamard(float* x, int64_t count, int64_t n, bool regular);
/// Sums in another order than the GPU's.
void differences(Source original_source, const void* original, Source decoded_source, const void* decoded,
                 int64_t n, double* sums);

}  // namespace ctq::linalg::twins
