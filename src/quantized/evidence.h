// Whether a checkpoint is quantized already, and what can be done with it.
#pragma once

#include <map>
#include <string>

#include "quantized/layers.h"

namespace ctq::quantized {

/// Layer name -> why it counts as quantized ("has blk.0.to_q.comfy_quant", "its weight is F8_E4M3", "is
/// bitsandbytes (nf4)"). Layers of every dialect, scales that belong to none, matrices of a type of codes; a
/// `scaled_fp8` tensor and the header's `_quantization_metadata` (then the key is the file's own entry).
std::map<std::string, std::string> evidence(const QuantizedFile& file);

/// The same of a checkpoint.
std::map<std::string, std::string> find_quantized(const model::Checkpoint& checkpoint);

/// What can be done with a quantized file, for the end of a sentence: `way_out`, or what holds for its
/// dialect.
///
/// way_out  where all layers can be decoded: "start from the original, unquantized file, or add --requantize"
std::string way_out_of(const QuantizedFile& file, std::string_view way_out);

}  // namespace ctq::quantized
