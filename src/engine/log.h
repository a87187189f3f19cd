// The log of a session.
#pragma once

#include "ctq/engine/session.h"

namespace ctq::engine {

/// Sets up spdlog's default logger.
void log_as(const SessionOptions& options);

}  // namespace ctq::engine
