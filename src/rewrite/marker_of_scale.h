// The marker that codes and the shape of their scale stand for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quantized/layers.h"

namespace ctq::rewrite {

/// layer  with codes of a byte, one to an element
/// scale  shape of the scale as it will lie in the file
/// throws  Error(kBadInput): the scale belongs to no format
std::string marker_of_scale(const quantized::Layer& layer, const std::vector<int64_t>& scale,
                            bool full_precision);

}  // namespace ctq::rewrite
