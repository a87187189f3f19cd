// The command `fp8`, told to the conversion.
#pragma once

#include <array>
#include <string_view>

#include "cli/conversion/settings.h"
#include "ctq/cli/arguments.h"

namespace ctq::cli {

/// Options of the conversion that `fp8` has too, meaning the same.
inline constexpr std::array<std::string_view, 20> kSharedWithConversion = {
    "--exclude-layers", "--calibration-data", "--manual_seed",    "--report-quality", "--quality-threshold",
    "--quality-json",   "--dry-run",          "--json",           "--strict",         "--no-clobber",
    "--allow-empty",    "--requantize",       "--max-shard-size", "--device",         "--threads",
    "--low-memory",     "--progress",         "--resume",         "--partition",      "--names"};

/// arguments: of fp8_options().
/// throws  as make_settings()
Settings make_fp8_settings(const Arguments& arguments);

}  // namespace ctq::cli
