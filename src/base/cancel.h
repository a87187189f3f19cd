// Stopping in an orderly way: SIGINT, SIGTERM and SIGHUP set a flag that long work asks for.
#pragma once

namespace ctq {

/// From now on SIGINT, SIGTERM and, unless it is ignored (nohup), SIGHUP only mark the run as cancelled; one
/// that comes half a second later or more ends the process at once.
void install_signal_handlers();

/// True once a signal arrived.
bool cancelled();

/// Throws Error(kInterrupted or kTerminated) once a signal arrived. Call between pieces of work that last
/// under a second.
void throw_if_cancelled();

}  // namespace ctq
