// What the weights of a whole file lost, known from some of their rows at hardly any cost.
#pragma once

#include <span>

#include <ATen/core/Tensor.h>

#include "format/codec.h"
#include "metrics/error_sum.h"

namespace ctq::pipeline {

/// One row in so many is decoded.
inline constexpr int64_t kRowsPerSample = 16;

/// Squares of what rounding changed and of the weight itself, estimated from strips of rows that are spread
/// evenly. Nothing of incoherent codecs, whose rows cannot be decoded one by one.
///
/// weights  [out_features, in_features] each, on the device of the codes
/// factors  what loaders multiply the input by, [in_features] float32; undefined: nothing
metrics::Squares sampled_squares(std::span<const at::Tensor> weights,
                                 std::span<const format::Encoded> encoded, const at::Tensor& factors);

}  // namespace ctq::pipeline
