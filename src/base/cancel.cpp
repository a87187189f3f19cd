#include "ctq/base/cancel.h"

#include <atomic>
#include <csignal>

#include "ctq/base/error.h"

namespace ctq {
namespace {

std::atomic<int> received_signal{0};

void on_signal(int signal) {
  received_signal.store(signal, std::memory_order_relaxed);
  // A second one, of either kind, is for somebody who cannot wait.
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

}  // namespace

void install_signal_handlers() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

bool cancelled() { return received_signal.load(std::memory_order_relaxed) != 0; }

void throw_if_cancelled() {
  switch (received_signal.load(std::memory_order_relaxed)) {
    case 0: return;
    case SIGTERM: fail(ErrorCode::kTerminated, "terminated");
    default: fail(ErrorCode::kInterrupted, "interrupted");
  }
}

}  // namespace ctq
