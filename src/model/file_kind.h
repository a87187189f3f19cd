// Files that are no model to convert: recognised by the names of their tensors.
#pragma once

#include <cstdint>

#include "model/checkpoint.h"

namespace ctq::model {

enum class FileKind : uint8_t {
  kModel,
  kAdapter,      ///< a LoRA, LoHa, LoKr ...: every matrix is part of one
  kVae,          ///< an image or video decoder alone
  kCalibration,  ///< what `calibrate` and the capture tools write
};

FileKind kind_of(const Checkpoint& checkpoint);

}  // namespace ctq::model
