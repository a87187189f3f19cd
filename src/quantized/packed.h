// Formats whose codes do not lie in the file one to an element: theirs are unpacked by the format's codec.
#pragma once

#include <string_view>

#include <ATen/core/Tensor.h>

#include "format/codec.h"
#include "quantized/layers.h"

namespace ctq::quantized {

/// Formats whose codes are bytes, one for a weight, that a product with a scale decodes; also the dialect
/// without a format.
bool is_byte_format(std::string_view format);

/// The codec of any other format; null when there is none here.
const format::Codec* packed_codec(std::string_view format);

/// The weight of a layer in a packed format, experts in front where its shape has them.
/// throws  Error(kBadInput) naming what is missing or has another type or shape
at::Tensor decode_packed(const Layer& layer, const format::Codec& codec);

}  // namespace ctq::quantized
