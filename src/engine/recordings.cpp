#include "engine/recordings.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"

namespace ctq::engine {
namespace {

/// Statistics of random rows serve nothing that asks what inputs are like, unless the user insists.
void check_origin(const Calibration& asked, calibrate::Recording& recording) {
  const size_t random = recording.random();
  if (random == 0) return note_none_random(asked.allow_random, asked.data);
  const std::string fact =
      fmt::format("the statistics of {} of its {} layers are of random rows, which say nothing of the model",
                  random, recording.matched().owners.size());
  if (*asked.allow_random) {
    warn("{}: {}; they are used ({})", asked.data, fact, asked.allow_random);
    return;
  }
  for (const Setting<bool>* use : {&asked.static_activations, &asked.smoothquant}) {
    if (**use)
      fail(ErrorCode::kUsage, "{}, and {} builds on them; record real ones, or add {}", fact, *use,
           asked.allow_random);
  }
  warn("{}: {}; they are not used ({} uses them)", asked.data, fact, asked.allow_random);
  recording.leave_out_random();
}

/// Says so where nothing can depend on the recording.
void note_without_effect(const Calibration& asked, const calibrate::Recording& recording) {
  if (recording.knows_moments() || *asked.static_activations || *asked.smoothquant) return;
  spdlog::info(
      "note: {} has no effect: it holds neither rows nor second moments nor means, only what {} and "
      "{} read",
      asked.data, asked.smoothquant, asked.static_activations);
}

}  // namespace

void note_none_random(const Setting<bool>& allow_random, const Setting<Path>& data) {
  if (*allow_random)
    spdlog::info("note: {} has no effect: no statistics of {} are of random rows", allow_random, data);
}

void note_renamed(std::string_view file, const calibrate::MatchedLayers& matched) {
  if (matched.renamed == 0) return;
  spdlog::info(
      "note: {}: {} of its layers have another library's names and are {} layers of the model; what is "
      "joined "
      "(q, k, v) reads the same rows",
      file, matched.renamed, matched.renamed_to);
}

std::unique_ptr<const calibrate::Recording> open_recording(const model::Checkpoint& checkpoint,
                                                           const Job& job) {
  const Setting<Path>& data = job.settings.calibration.data;
  if (data->empty()) return nullptr;
  return naming(data, [&] {
    auto recording =
        std::make_unique<calibrate::Recording>(calibrate::Recording::open(data->string(), checkpoint));
    check_origin(job.settings.calibration, *recording);
    const calibrate::MatchedLayers& matched = recording->matched();
    spdlog::info("Calibration data: {} layers of {}", matched.owners.size(), data->string());
    note_renamed(data->string(), matched);
    if (const auto& left = matched.unmatched; !left.empty()) {
      const std::string fact =
          fmt::format("{}: {} of its layers, first '{}', are no 2-D weights of the model", data, left.size(),
                      printable(left.front()));
      if (job.strict) fail(ErrorCode::kFailure, "{} ({})", fact, job.settings.report.strict);
      warn("{}", fact);
    }
    note_without_effect(job.settings.calibration, *recording);
    return std::unique_ptr<const calibrate::Recording>(std::move(recording));
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
