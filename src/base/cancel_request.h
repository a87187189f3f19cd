// Cancelling without a signal, for who stops long work rather than does it.
#pragma once

namespace ctq {

/// Marks the run as cancelled, as SIGINT does. From any thread.
void request_cancel();

/// Takes the request back, whether or not it was heeded. Signals stay.
void withdraw_cancel();

}  // namespace ctq
