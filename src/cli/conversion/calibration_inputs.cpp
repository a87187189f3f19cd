#include "calibration_inputs.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "ctq/base/error.h"
#include "ctq/base/log.h"
#include "ctq/base/text.h"
#include "ctq/pipeline/input_factors.h"
#include "ctq/transform/smoothing.h"

namespace ctq::cli {

std::optional<calibrate::Recording> open_recording(const model::Checkpoint& checkpoint,
                                                   const Settings& settings) {
  if (settings.calibration_data.empty()) return std::nullopt;
  try {
    auto recording = calibrate::Recording::open(settings.calibration_data, checkpoint);
    spdlog::info("Calibration data: {} layers of {}", recording.matched(), settings.calibration_data);
    if (const auto& left = recording.unmatched(); !left.empty()) {
      const std::string fact =
          fmt::format("--calibration-data: {} of its layers, first '{}', are no 2-D weights of the model",
                      left.size(), printable(left.front()));
      if (settings.strict) fail(ErrorCode::kFailure, "{} (--strict)", fact);
      warn("{}", fact);
    }
    return recording;
  } catch (const Error& error) {
    fail(error.code(), "argument --calibration-data: {}", error.what());
  }
}

std::optional<calibrate::LoraRows> open_lora(const model::Checkpoint& checkpoint, const Settings& settings) {
  if (settings.calibration_lora.empty()) return std::nullopt;
  try {
    std::optional<calibrate::LoraRows> lora;
    lora.emplace(settings.calibration_lora, settings.run.optimizer.seed);
    const auto named =
        std::ranges::count_if(checkpoint.entries(), [&](const model::Checkpoint::Entry& entry) {
          return entry.is_matrix() && lora->has(entry.layer(), entry.info->shape[1]);
        });
    if (named == 0)
      fail(ErrorCode::kFailure, "{}: none of its {} layers is in {}{}", settings.calibration_lora,
           lora->size(), checkpoint.path(), lora->example());
    spdlog::info("Calibration LoRA: {} layers of {}", named, settings.calibration_lora);
    return lora;
  } catch (const Error& error) {
    fail(error.code(), "argument --calibration-lora: {}", error.what());
  }
}

void choose_input_factors(const model::Checkpoint& checkpoint, Settings& settings) {
  if (!settings.run.smoothquant_alpha) return;
  pipeline::InputFactorChoice choice =
      pipeline::choose_input_factors(checkpoint, settings.plan, settings.run);
  if (choice.unread > 0)
    spdlog::info("note: --smoothquant: {}; nvfp4 layers that stay as they are: {}", choice.obstacle,
                 choice.unread);
  if (choice.unmeasured > 0)
    spdlog::info(
        "note: --smoothquant: nvfp4 layers without recorded rows to measure on, which get no "
        "pre_quant_scale: {}",
        choice.unmeasured);
  if (choice.measured > 0)
    spdlog::info("SmoothQuant: factors of their own (pre_quant_scale) bring {} of {} nvfp4 layers closer{}",
                 choice.factors.size(), choice.measured,
                 choice.factors.empty() ? "" : "; ComfyUI 0.31 was the first to read them");
  for (const auto& [layer, factors] : choice.factors) settings.plan.input_factors.insert(layer);
  settings.run.input_factors = std::move(choice.factors);
  settings.smoothing_measured = choice.measured > 0;
}

std::string smoothing_words(const model::Checkpoint& checkpoint, const plan::Plan& plan,
                            const Settings& settings) {
  if (!settings.run.smoothquant_alpha) return "";
  const auto folds = transform::Smoothing::candidates(
      checkpoint, *settings.run.recording, [&](std::string_view layer) { return plan.quantizes(layer); });
  if (folds.empty() && settings.smoothing_measured && settings.run.input_factors.empty()) return "";
  if (folds.empty() && settings.run.input_factors.empty())
    fail(ErrorCode::kFailure,
         "--smoothquant: nothing in this model is known to be able to divide a recorded input of a quantized "
         "layer{}",
         settings.plan.target.codec->format == "nvfp4" ? ", and no nvfp4 layer can have factors of its own"
                                                       : "; --convrot serves every model");
  std::vector<std::string> quantized;
  for (const plan::TensorPlan& tensor : plan.tensors) {
    if (tensor.decision == plan::Decision::kQuantize) quantized.emplace_back(tensor.source->layer());
  }
  transform::StoredFactors stored = settings.run.input_factors;
  std::erase_if(stored, [&](const auto& factors) { return !plan.quantizes(factors.first); });
  return transform::summary(folds, quantized, stored);
}

}  // namespace ctq::cli
