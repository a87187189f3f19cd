// What is known of the inputs of a model's layers, as settings name it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "calibrate/lora_rows.h"
#include "calibrate/recorded.h"
#include "engine/job.h"
#include "model/checkpoint.h"

namespace ctq::engine {

/// calibration.data; null where it was not given. Says what of it belongs to the model.
/// throws  what opening throws, naming the setting; Error(kFailure) where something does not belong, if
///         strict
std::unique_ptr<const calibrate::Recording> open_recording(const model::Checkpoint& checkpoint,
                                                           const Job& job);

/// Says that random statistics were allowed where there are none, if they were.
void note_none_random(const Setting<bool>& allow_random, const Setting<Path>& data);

/// Says how many layers of a calibration file were found by another library's names, if any.
void note_renamed(std::string_view file, const calibrate::MatchedLayers& matched);

/// calibration.lora; null where it was not given.
/// throws  the same; Error(kFailure) where none of its layers is in the model
std::unique_ptr<const calibrate::LoraRows> open_lora(const model::Checkpoint& checkpoint, const Job& job);

/// The input scales of a model's layers. recording: null when there is none. Adds warnings.
/// throws  Error(kBadInput) for a file that cannot be read or holds no number; Error(kUsage) when the file
///         and the recording disagree on a layer; Error(kFailure) when the file knows no layer of the model
plan::InputScales find_input_scales(const Calibration& asked, const model::Checkpoint& checkpoint,
                                    const calibrate::Recording* recording,
                                    std::vector<std::string>& warnings);

}  // namespace ctq::engine
