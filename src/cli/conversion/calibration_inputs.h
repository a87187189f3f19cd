// What a conversion is told of the layers' inputs: --calibration-data, --calibration-lora, --smoothquant.
#pragma once

#include <optional>
#include <string>

#include "ctq/calibrate/lora_rows.h"
#include "ctq/calibrate/recorded.h"
#include "ctq/model/checkpoint.h"
#include "settings.h"

namespace ctq::cli {

/// Nothing where no recording was given.
/// throws  what opening one throws, naming the option; Error(kFailure) with --strict for layers that the
///         model lacks
std::optional<calibrate::Recording> open_recording(const model::Checkpoint& checkpoint,
                                                   const Settings& settings);

/// Nothing where no LoRA was given.
/// throws  the same; Error(kFailure) where it names no layer of the model
std::optional<calibrate::LoraRows> open_lora(const model::Checkpoint& checkpoint, const Settings& settings);

/// With --smoothquant: measures which layers get factors of their own, puts the choice into settings.plan and
/// settings.run, and logs it.
/// throws  what pipeline::choose_input_factors() throws
void choose_input_factors(const model::Checkpoint& checkpoint, Settings& settings);

/// What SmoothQuant will do to a plan, as one sentence; empty where it was not asked for.
/// throws  Error(kFailure) where it can do nothing
std::string smoothing_words(const model::Checkpoint& checkpoint, const plan::Plan& plan,
                            const Settings& settings);

}  // namespace ctq::cli
