// --max-error and --target-size.
#pragma once

#include "ctq/model/checkpoint.h"
#include "settings.h"

namespace ctq::cli {

/// Measures the layers, logs what they cost in each format, and puts the choice into settings.plan.
/// settings.goal: set.
/// throws  what pipeline::choose_formats() throws
void choose_by_measurement(const model::Checkpoint& checkpoint, Settings& settings);

}  // namespace ctq::cli
