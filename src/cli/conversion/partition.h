// --partition: which of several processes this one is.
#pragma once

#include <functional>
#include <string>

#include "ctq/cli/arguments.h"
#include "ctq/pipeline/convert.h"
#include "settings.h"

namespace ctq::cli {

/// A variable of the environment, or null.
using Environment = std::function<const char*(const char*)>;

/// text: "2/4", or "auto" for rank and size of the process as Open MPI, a Slurm array, Slurm, PMI or an
/// indexed Kubernetes job (with its completions as JOB_COMPLETIONS) say it, in this order. throws
/// Error(kUsage): neither; a part outside 1..n; no scheduler, or one that says only half
pipeline::Partition parse_partition(const std::string& text, const Environment& environment);

/// Sets the run's partition, and the part's name as its output: "model.part-2-of-4.safetensors".
/// throws  Error(kUsage) also for options that parts cannot have
void read_partition(const Arguments& arguments, Settings& settings);

}  // namespace ctq::cli
