// Arithmetic that the dialects share: numbers of stored tensors, packed codes, scales of runs.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "quantized/layers.h"

namespace ctq::quantized {

/// throws  Error(kBadInput) "weight_scale is missing"
const model::Checkpoint::Entry& required_side(const Layer& layer, std::string_view role);

/// Scales as float32. Bytes are exponents: 2^(e - 127), and NaN for 255.
at::Tensor load_scales(const model::Checkpoint::Entry& entry);

/// What a layer's loader multiplies its input by, as float32 [in_features].
/// throws  Error(kBadInput) for another number of them
at::Tensor load_input_factors(const model::Checkpoint::Entry& entry, int64_t in_features);

/// Codes of `bits` bits each from rows of little-endian words, the first code in the lowest bits; a code may
/// lie in two words.
///
/// words    [rows, n] int32, or uint8
/// returns  [rows, count] int16
at::Tensor unpack_bits(const at::Tensor& words, int bits, int64_t count);

/// E2M1 numbers of bytes [rows, n], two columns to a byte.
/// returns  [rows, 2 n] float32
at::Tensor unpack_e2m1(const at::Tensor& bytes, bool even_is_high);

/// (codes - zeros) * scales, both steps in float32.
///
/// codes   [out_features, in_features], any type
/// scales  one element, [out_features], [out_features, 1] or [out_features, runs], runs of equal width;
///         float32
/// zeros   in the shape of scales, or undefined
/// runs    the run of every column, int64, where they do not lie in a row; or undefined
/// throws  Error(kBadInput) for scales that fit no runs
at::Tensor scaled_runs(const at::Tensor& codes, const at::Tensor& scales, const at::Tensor& zeros = {},
                       const at::Tensor& runs = {});

/// codes * scales, where the scales' shape says what they cover (tiles_of_scale), or where they are as many
/// as blocks of 128 x 128, the last of them cut off.
/// throws  Error(kBadInput)
at::Tensor scaled_blocks(const at::Tensor& codes, const at::Tensor& scales);

}  // namespace ctq::quantized
