// The files of a batch.
#pragma once

#include <string>
#include <vector>

#include "options.h"

namespace ctq::cli::batch {

/// Sorted and without doubles. Files that --directory or a glob found and that are quantized already are left
/// out, with a note, unless --include-quantized, and so are calibration files and adapters; files that cannot
/// be read stay, because their conversion says why.
///
/// adapters  whether adapters are to be converted
/// throws  Error(kUsage): not exactly one of --inputs and --directory.
///         Error(kBadInput): no folder of that name; nothing matches
std::vector<std::string> find_inputs(const BatchOptions& options, bool adapters);

}  // namespace ctq::cli::batch
