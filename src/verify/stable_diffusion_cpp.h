// What stable-diffusion.cpp refuses or misreads.
#pragma once

#include <vector>

#include "verify/client.h"

namespace ctq::verify {

/// FP8 with one scale, or one per row, is read whatever marks it (tried with build master-898). INT8 goes by
/// .comfy_quant tensors alone: int8_tensorwise with a scale per row, in builds that have a ggml of their own
/// (by its sources of August 2026); those with the published ggml refuse it (tried).
std::vector<Finding> check_stable_diffusion_cpp(const quantized::QuantizedFile& file);

}  // namespace ctq::verify
