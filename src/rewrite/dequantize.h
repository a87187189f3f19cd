// A quantized file as plain weights.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "quantized/layers.h"

namespace ctq::rewrite {

struct Dequantized {
  size_t decoded = 0;  ///< weights
  size_t copied = 0;   ///< tensors that keep their bytes
  size_t dropped = 0;  ///< scales, markers and whatever else belongs to the codes
};

/// Writes every quantized weight decoded, and all other tensors byte by byte under their names. Scales,
/// markers and the header's map of them are left out.
///
/// dtype   of the decoded weights: F32, F16 or BF16; nothing: what the layer's marker says it had, else BF16
/// throws  Error(kBadInput): no quantized layer, or one that cannot be decoded; Error(kFailure): a weight
///         beyond the range of float16; see safetensors::Writer
Dequantized dequantize(const quantized::QuantizedFile& file, std::optional<safetensors::Dtype> dtype,
                       const std::string& output);

}  // namespace ctq::rewrite
