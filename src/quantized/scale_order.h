// The order of codes and scales in NVFP4 and MXFP8 layers without markers.
#pragma once

#include "quantized/layers.h"

namespace ctq::quantized {

/// What the layer's own shapes tell, else what the file as a whole does.
QuantizedFile::ScaleOrder scale_order_of(const QuantizedFile& file, const Layer& layer);

}  // namespace ctq::quantized
