// Whether an interrupted conversion was the same one.
#pragma once

#include <string>
#include <vector>

#include "engine/job.h"
#include "model/checkpoint.h"
#include "pipeline/convert.h"

namespace ctq::engine {

/// From the headers, sizes and times of modification of the input's files, all settings that may show in the
/// output (also those whose values follow from the machine: device, threads, a random seed), and size and
/// time of modification of the files that settings name.
/// checkpoint: as it is converted; files: of the input that it is made of
pipeline::ResumeKey resume_key(const Job& job, const model::Checkpoint& checkpoint,
                               const std::vector<std::string>& files);

/// The same for parts that may come from several machines: without times of modification, device and threads.
std::string partition_run(const Job& job, const model::Checkpoint& checkpoint,
                          const std::vector<std::string>& files);

}  // namespace ctq::engine
