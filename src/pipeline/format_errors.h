// What round-to-nearest costs each layer in several formats, to compare them before a conversion.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "metrics/error.h"
#include "plan/plan.h"

namespace ctq::pipeline {

/// A layer in one format, rounded to nearest.
struct FormatError {
  plan::Target target;
  uint64_t bytes = 0;  ///< of its tensors in the file, without marker
  metrics::WeightError error;
};

struct LayerFormatErrors {
  std::string name;  ///< of the weight
  uint64_t bytes = 0;
  std::vector<FormatError> formats;  ///< those that fit, in the order asked for
};

/// Measures every weight that the plan quantizes, whatever its own format, as a loader would decode it.
/// Formats that its shape does not fit are left out; so is a weight with NaN or infinite values, in all of
/// them. On the CPU.
/// throws  Error(kInterrupted) after a signal
std::vector<LayerFormatErrors> measure_formats(const plan::Plan& plan, std::span<const plan::Target> targets);

/// The smallest format whose SQNR reaches the goal, for every layer; without target, and kept, where none
/// does.
plan::Measured smallest_formats(const std::vector<LayerFormatErrors>& layers, double sqnr_db);

}  // namespace ctq::pipeline
