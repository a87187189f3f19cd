// The weights that a quantized file stands for.
#pragma once

#include <optional>
#include <string>

#include <ATen/core/Tensor.h>

#include "quantized/layers.h"

namespace ctq::quantized {

/// The weight of a layer as its own scales, rotation and marker give it: float32 on the CPU,
/// [out_features, in_features], experts in front where the codes have them. Codes and scales that are NaN
/// give NaN.
///
/// The scale of the codes' type and shape decides, not the name of the format: a file whose marker says
/// `int8_blockwise` over scales per row is decoded by its rows.
///
/// throws  Error(kBadInput) naming layer and fault: a tensor that is missing or does not fit, a format that
/// is
///         not known here
at::Tensor decode(const QuantizedFile& file, const Layer& layer);

/// What loaders multiply the input of a marked nvfp4 layer by before its codes: [in_features] float32, and
/// part of what decode() gives. Undefined where there is nothing.
/// throws  Error(kBadInput) "pre_quant_scale has shape ..."
at::Tensor input_factors(const Layer& layer);

/// throws what decode() throws, as far as headers and markers tell
void require_decodable(const Layer& layer);

/// The decode scale that a one-byte logarithmic one stands for: w = code * scale.
/// throws  Error(kBadInput): the layer's scale is not one U8 code
float log_scale(const QuantizedFile& file, const Layer& layer);

/// A tensor of the model: decoded where it is the weight of a quantized layer, else as model::load() gives
/// it.
at::Tensor load(const QuantizedFile& file, const model::Checkpoint::Entry& entry);

/// What holds a tensor of the model: the tensor of that name, or the codes that stand for it; null where the
/// file has neither.
const model::Checkpoint::Entry* weight_named(const QuantizedFile& file, std::string_view tensor);

/// Shape of what load() gives.
std::vector<int64_t> shape_of(const QuantizedFile& file, const model::Checkpoint::Entry& entry);

}  // namespace ctq::quantized
