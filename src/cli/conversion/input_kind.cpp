#include "input_kind.h"

#include <algorithm>

#include "ctq/base/error.h"
#include "ctq/base/log.h"
#include "ctq/model/file_kind.h"

namespace ctq::cli {

void check_input_kind(const model::Checkpoint& checkpoint, std::span<const std::string> presets) {
  switch (model::kind_of(checkpoint)) {
    case model::FileKind::kModel: return;
    case model::FileKind::kAdapter:
      if (std::ranges::count(presets, "lora") > 0) return;
      fail(ErrorCode::kUsage,
           "argument --input: {} is an adapter (LoRA), not a model: --merge-lora merges it into one; --lora "
           "quantizes it, for programs that read such files",
           checkpoint.path());
    case model::FileKind::kCalibration:
      fail(ErrorCode::kUsage,
           "argument --input: {} is a calibration file, not a model: --calibration-data reads it beside one",
           checkpoint.path());
    case model::FileKind::kVae:
      warn("{} is a VAE alone: programs read no quantized VAE, and this one loses what it decodes",
           checkpoint.path());
  }
}

}  // namespace ctq::cli
