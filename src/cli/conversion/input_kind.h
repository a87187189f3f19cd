// Inputs of a conversion that are no models.
#pragma once

#include <span>
#include <string>

#include "ctq/model/checkpoint.h"

namespace ctq::cli {

/// throws  Error(kUsage) naming what the file is, and the option that takes it: a calibration file, or an
/// adapter
///         without the preset `lora`. A VAE alone is a warning
void check_input_kind(const model::Checkpoint& checkpoint, std::span<const std::string> presets);

}  // namespace ctq::cli
