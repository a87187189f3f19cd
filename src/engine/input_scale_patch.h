// Input scales for a file that is already quantized.
#pragma once

#include <cstdint>
#include <string>

#include "calibrate/calibration_file.h"
#include "model/checkpoint.h"

namespace ctq::engine {

struct Patched {
  std::string scales_json;  ///< {"layer": input_scale} of the layers that got one
  size_t layers = 0;        ///< quantized layers of the file
  size_t scaled = 0;        ///< of these, layers that got an input scale
};

/// Writes a copy of a file in the comfy layout in which each quantized layer with statistics has
/// `<layer>.input_scale`, F32 [], the percentile of its input's magnitudes over the largest code of its
/// format, and `"input_scale_calibrated": true` in its marker, in the header too where that repeats it. All
/// other tensors keep their bytes.
///
/// Layers are passed over, and logged, whose format has no input scale here, whose input is rotated before it
/// is quantized, or whose statistics are not finite. An input that is always zero gets the scale 1.
///
/// throws  Error(kBadInput): no quantized layer, a marker that is no JSON object, an input of another width;
///         Error(kFailure): no statistics for any of them; see safetensors::Writer
Patched patch_input_scales(const model::Checkpoint& quantized, const calibrate::CalibrationFile& statistics,
                           double percentile, const std::string& output);

}  // namespace ctq::engine
