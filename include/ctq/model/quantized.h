// Recognises what is already quantized in a checkpoint.
#pragma once

#include <map>
#include <string>

#include "ctq/model/checkpoint.h"

namespace ctq::model {

/// Layer name -> why it counts as quantized ("has blk.0.to_q.comfy_quant", "weight is F8_E4M3"). From headers
/// alone.
///
/// Evidence: .comfy_quant, .weight_scale, .scale_weight beside a weight; 2-D weights of an 8-bit or 4-bit
/// type; a `scaled_fp8` tensor and the header's `_quantization_metadata` (then the key is the file's own
/// entry: "scaled_fp8", "_quantization_metadata").
std::map<std::string, std::string> find_quantized(const Checkpoint& checkpoint);

}  // namespace ctq::model
