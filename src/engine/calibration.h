// Calibration files: made, joined, opened; and what they give a quantized model.
#pragma once

#include "calibrate/calibration_file.h"
#include "ctq/engine/calibration.h"
#include "pipeline/enough.h"

namespace ctq::engine {

/// Writes what mode_of() says, and logs it; what is printed alone is refused.
/// throws  Error naming the setting for what is wrong with it or its file
void write_calibration(const CalibrationSettings& asked);

/// Of `enough`: what more pictures bring to the model of `input`.
/// throws  as write_calibration(); Error(kFailure) where no layer's rows tell pictures apart
pipeline::Enough measure_enough(const CalibrationSettings& asked);

/// The file of `list`, opened; `json` is checked not to be it.
calibrate::CalibrationFile open_listed(const CalibrationSettings& asked);

}  // namespace ctq::engine
