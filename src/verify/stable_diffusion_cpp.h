// What stable-diffusion.cpp refuses or misreads.
#pragma once

#include <vector>

#include "ctq/verify/client.h"

namespace ctq::verify {

/// It goes by .comfy_quant tensors alone and knows int8_tensorwise with a scale per row; codes of other
/// formats are read without their scales. By its sources of August 2026.
std::vector<Finding> check_stable_diffusion_cpp(const quantized::QuantizedFile& file);

}  // namespace ctq::verify
