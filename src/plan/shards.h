// Which output file holds which tensor.
#pragma once

#include <string>
#include <vector>

#include "plan/plan.h"

namespace ctq::plan {

/// One file, or shards of at most `max_shard_bytes` (0: no bound) in name order,
/// "model-00001-of-00003.safetensors". The tensors of a layer stay together.
/// throws  Error(kUsage) when a layer alone exceeds the bound
std::vector<OutputFile> lay_out_files(const Plan& plan, const std::string& output_name,
                                      uint64_t max_shard_bytes);

}  // namespace ctq::plan
