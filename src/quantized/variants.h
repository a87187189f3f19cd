// Formats that others write with more freedom than our codecs have.
#pragma once

#include <functional>
#include <string_view>

#include <ATen/core/Tensor.h>

#include "quantized/layers.h"

namespace ctq::quantized {

/// The tensor of a role; throws Error(kBadInput) where there is none.
using Stored = std::function<at::Tensor(std::string_view role)>;

/// asym_w4a8_int8 with any codebook or none, any length of runs, four bits or six:
/// a = clamp(round(level[c] * s_rel), +-127), W' = a * s_channel, rotated back.
///
/// returns  [out_features, in_features] float32
/// throws   Error(kBadInput) for tensors that do not fit each other
at::Tensor decode_asym_w4a8(const Layer& layer, int64_t out_features, int64_t in_features,
                            const Stored& stored);

/// awq_w4a16 with any length of runs: w = (c - 8) * scale + zeros, both steps rounded to the type of the
/// scales.
at::Tensor decode_awq_w4a16(int64_t out_features, int64_t in_features, const Stored& stored);

}  // namespace ctq::quantized
