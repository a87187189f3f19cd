// The command `fp8`: two older FP8 programs, told to the engine.
#pragma once

#include <string>
#include <vector>

#include "engine/job.h"

namespace ctq::cli {

/// args: without the command's word
/// throws  as Arguments::parse_command() and engine::prepare()
engine::Job make_fp8_job(const std::vector<std::string>& args);

}  // namespace ctq::cli
