// What a client refuses or misreads in a finished file, and what differs too much from its original.
#pragma once

#include <vector>

#include "ctq/engine/verification.h"
#include "verify/client.h"

namespace ctq::engine {

/// throws  Error(kUsage): no input, settings that do not go together, a client that nobody knows;
///         Error(kBadInput): a file that cannot be read; Error(kInterrupted)
std::vector<verify::Finding> verify_file(const VerificationSettings& asked);

}  // namespace ctq::engine
