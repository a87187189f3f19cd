#include "engine/recordings.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"

namespace ctq::engine {

std::unique_ptr<const calibrate::Recording> open_recording(const model::Checkpoint& checkpoint,
                                                           const Job& job) {
  const Setting<Path>& data = job.settings.calibration.data;
  if (data->empty()) return nullptr;
  return naming(data, [&] {
    auto recording =
        std::make_unique<const calibrate::Recording>(calibrate::Recording::open(data->string(), checkpoint));
    spdlog::info("Calibration data: {} layers of {}", recording->matched(), data->string());
    if (const auto& left = recording->unmatched(); !left.empty()) {
      const std::string fact =
          fmt::format("{}: {} of its layers, first '{}', are no 2-D weights of the model", data, left.size(),
                      printable(left.front()));
      if (job.strict) fail(ErrorCode::kFailure, "{} ({})", fact, job.settings.report.strict);
      warn("{}", fact);
    }
    return recording;
  });
}

std::unique_ptr<const calibrate::LoraRows> open_lora(const model::Checkpoint& checkpoint, const Job& job) {
  const Setting<Path>& file = job.settings.calibration.lora;
  if (file->empty()) return nullptr;
  return naming(file, [&] {
    auto lora = std::make_unique<const calibrate::LoraRows>(file->string(), job.run.optimizer.seed);
    const auto named =
        std::ranges::count_if(checkpoint.entries(), [&](const model::Checkpoint::Entry& entry) {
          return entry.is_matrix() && lora->has(entry.layer(), entry.info->shape[1]);
        });
    if (named == 0)
      fail(ErrorCode::kFailure, "{}: none of its {} layers is in {}{}", file->string(), lora->size(),
           checkpoint.path(), lora->example());
    spdlog::info("Calibration LoRA: {} layers of {}", named, file->string());
    return lora;
  });
}

}  // namespace ctq::engine
