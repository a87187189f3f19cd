// The command `fp8`: two older FP8 programs, told to the engine.
#pragma once

#include <array>
#include <string_view>

#include "ctq/cli/arguments.h"
#include "ctq/engine/job.h"

namespace ctq::cli {

/// Options of the conversion that `fp8` has too, meaning the same.
inline constexpr std::array<std::string_view, 20> kSharedWithConversion = {
    "--exclude-layers", "--calibration-data", "--manual_seed",    "--report-quality", "--quality-threshold",
    "--quality-json",   "--dry-run",          "--json",           "--strict",         "--no-clobber",
    "--allow-empty",    "--requantize",       "--max-shard-size", "--device",         "--threads",
    "--low-memory",     "--progress",         "--resume",         "--partition",      "--names"};

/// arguments: of fp8_options().
/// throws  as engine::prepare()
engine::Job make_fp8_job(const Arguments& arguments);

}  // namespace ctq::cli
