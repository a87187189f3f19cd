#include "base/cancel.h"

#include <time.h>

#include <atomic>
#include <csignal>
#include <cstdint>

#include "base/cancel_request.h"
#include "base/error.h"

namespace ctq {
namespace {

/// In place of a signal's number.
constexpr int kRequest = -1;

constexpr int64_t kGraceNs = 500'000'000;

std::atomic<int> received_signal{0};
std::atomic<int64_t> received_at{0};

int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void on_signal(int signal) {
  int none = 0, request = kRequest;
  if (received_signal.compare_exchange_strong(none, signal) ||
      received_signal.compare_exchange_strong(request, signal)) {
    received_at.store(now_ns());
    return;
  }
  // Programs that stop others often send two in a row, to the process and to its group.
  if (now_ns() - received_at.load() < kGraceNs) return;
  // A later one, of either kind, is from somebody who cannot wait.
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

}  // namespace

void install_signal_handlers() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  // Of a terminal that is closed; under nohup it stays ignored.
  if (std::signal(SIGHUP, on_signal) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
}

void request_cancel() {
  int none = 0;
  received_signal.compare_exchange_strong(none, kRequest);
}

void withdraw_cancel() {
  int request = kRequest;
  received_signal.compare_exchange_strong(request, 0);
}

bool cancelled() { return received_signal.load(std::memory_order_relaxed) != 0; }

void throw_if_cancelled() {
  switch (received_signal.load(std::memory_order_relaxed)) {
    case 0: return;
    case SIGTERM: fail(ErrorCode::kTerminated, "terminated");
    case SIGHUP: fail(ErrorCode::kTerminated, "the terminal is gone");
    default: fail(ErrorCode::kInterrupted, "interrupted");
  }
}

}  // namespace ctq
