// Options about memory, and about BF16 arithmetic on a GPU.
#pragma once

#include <string>
#include <vector>

#include "ctq/cli/arguments.h"
#include "ctq/pipeline/convert.h"

namespace ctq::cli {

/// --max-memory, --low-memory, --no-memory-limits, --streaming-mode and its thresholds. run.device: set
/// throws  Error(kUsage): two that exclude each other; less than the program itself takes
void read_memory(const Arguments& arguments, pipeline::RunOptions& run, std::vector<std::string>& notes,
                 std::vector<std::string>& warnings);

/// --bf16-compute and its thresholds, for all later arithmetic.
void read_bf16(const Arguments& arguments, at::Device device, std::vector<std::string>& notes);

}  // namespace ctq::cli
