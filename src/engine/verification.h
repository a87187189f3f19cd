// What a client refuses or misreads in a finished file, and what differs too much from its original.
#pragma once

#include <vector>

#include "ctq/engine/verification.h"
#include "verify/client.h"
#include "verify/values.h"

namespace ctq::engine {

struct Verification {
  std::vector<verify::Finding> findings;
  std::vector<verify::LayerError> measured;  ///< by name; empty without an original
};

/// throws  Error(kUsage): no input, settings that do not go together, a client that nobody knows;
///         Error(kBadInput): a file that cannot be read; Error(kInterrupted)
Verification verify_file(const VerificationSettings& asked);

}  // namespace ctq::engine
