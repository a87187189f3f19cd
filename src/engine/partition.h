// Which of several processes that share a conversion this one is.
#pragma once

#include <functional>
#include <string>

#include "ctq/engine/setting.h"
#include "pipeline/convert.h"

namespace ctq::engine {

/// A variable of the environment, or null.
using Environment = std::function<const char*(const char*)>;

/// setting: "2/4", or "auto" for rank and size of the process as Open MPI, a Slurm array, Slurm, PMI or an
/// indexed Kubernetes job (with its completions as JOB_COMPLETIONS) say it, in this order. throws
/// Error(kUsage): neither; a part outside 1..n; no scheduler, or one that says only half
pipeline::Partition parse_partition(const Setting<std::string>& setting, const Environment& environment);

}  // namespace ctq::engine
