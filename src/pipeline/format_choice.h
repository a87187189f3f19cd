// The format of each layer, chosen by what it costs there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/checkpoint.h"
#include "pipeline/convert.h"
#include "plan/plan.h"

namespace ctq::pipeline {

/// Exactly one is set.
struct FormatGoal {
  std::optional<double> max_error;  ///< of every layer: output_rel where rows are held back, else weight_rel
  std::optional<uint64_t> target_bytes;  ///< of all output files
};

/// A layer in one format.
struct MeasuredFormat {
  plan::Target target;
  uint64_t bytes = 0;  ///< of its tensors in the file
  double error = 0;    ///< as it would be stored
};

/// A layer in the formats that were tried, in the order of plan::formats_from().
struct MeasuredLayer {
  const plan::TensorPlan* tensor = nullptr;  ///< in the first format; valid during the call alone
  std::string name;                          ///< of the weight
  std::vector<MeasuredFormat> formats;
};

struct FormatChoice {
  plan::Measured chosen;         ///< for plan::Options::measured
  double largest_error = 0;      ///< of the layers that are quantized
  std::string largest_error_of;  ///< the weight
};

/// Rounds every layer that would get options.target in the formats of plan::formats_from(), by the run's
/// optimizer, and chooses. Reads the weights once; nothing is written.
///
/// max_error     the first format that meets it; layers that none does are kept
/// target_bytes  all start in their smallest format. Then, as long as the file stays within the size, the
/// step to a
///               larger format (or to keeping the layer) that lowers the sum of squared errors most per byte,
///               taken along the lower convex hull of every layer
/// throws        Error(kQuality) where the goal cannot be met, naming what can; what make_plan and the reader
/// throw
FormatChoice choose_formats(const model::Checkpoint& checkpoint, const plan::Options& options,
                            const RunOptions& run, const FormatGoal& goal, Events& events);

}  // namespace ctq::pipeline
