// The program's version.
#pragma once

namespace ctq {

/// "0.1.0": CTQ_VERSION, which the build sets for this room.
const char* version();

}  // namespace ctq
