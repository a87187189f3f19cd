// Options that give some layers another target: --custom-*, --fallback-*, --layer-config.
#pragma once

#include <string>
#include <vector>

#include "ctq/cli/arguments.h"
#include "ctq/plan/plan.h"

namespace ctq::cli {

/// True when some layers may get another target, so that --scaling_mode and --block_size serve those too.
bool has_other_targets(const Arguments& arguments);

/// Fills in options.custom and options.fallback; options.target is known.
/// throws  Error(kUsage) for an option without the one that it belongs to, a bad pattern, a scaling mode that
///         the type lacks
void read_custom_and_fallback(const Arguments& arguments, plan::Options& options,
                              std::vector<std::string>& notes, std::vector<std::string>& warnings);

/// Fills in options.layer_config. Opens the file, so it comes after the checks of all options.
/// throws  Error(kBadInput) when the file cannot be read, Error(kUsage) for its content
void read_layer_config(const Arguments& arguments, plan::Options& options, std::vector<std::string>& notes);

}  // namespace ctq::cli
