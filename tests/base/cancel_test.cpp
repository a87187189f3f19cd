#include "base/cancel.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

#include <catch2/catch.hpp>

#include "base/cancel_request.h"
#include "base/error.h"

namespace ctq {
namespace {

constexpr int kNotCancelled = 77, kOtherException = 78;

/// The wait status of a process of its own in which `work` runs: a signal stays there.
int status_of(const std::function<int()>& work) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(work());
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

/// The code that throw_if_cancelled() throws.
int thrown_code() {
  try {
    throw_if_cancelled();
  } catch (const Error& error) {
    return static_cast<int>(error.code());
  } catch (...) {
    return kOtherException;
  }
  return kNotCancelled;
}

int exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }
int killed_by(int status) { return WIFSIGNALED(status) ? WTERMSIG(status) : -1; }

}  // namespace

TEST_CASE("cancel: SIGHUP stays ignored where it was, as under nohup", "[base]") {
  CHECK(exit_code(status_of([] {
          std::signal(SIGHUP, SIG_IGN);
          install_signal_handlers();
          std::raise(SIGHUP);
          return cancelled() ? 1 : thrown_code();
        })) == kNotCancelled);
}

TEST_CASE("cancel: nothing is thrown before a signal", "[base]") {
  CHECK_FALSE(cancelled());
  CHECK_NOTHROW(throw_if_cancelled());
  CHECK(exit_code(status_of([] {
          install_signal_handlers();
          return cancelled() ? 1 : thrown_code();
        })) == kNotCancelled);
}

TEST_CASE("cancel: SIGINT, SIGTERM and SIGHUP mark the run, each with its code", "[base]") {
  struct Row {
    int signal;
    ErrorCode code;
  };
  const auto row = GENERATE(values<Row>({{SIGINT, ErrorCode::kInterrupted},
                                         {SIGTERM, ErrorCode::kTerminated},
                                         {SIGHUP, ErrorCode::kTerminated}}));
  const int status = status_of([&] {
    install_signal_handlers();
    std::raise(row.signal);
    return cancelled() ? thrown_code() : 1;
  });
  CHECK(exit_code(status) == static_cast<int>(row.code));
}

TEST_CASE("cancel: a request stands until it is withdrawn, a signal stays", "[base]") {
  request_cancel();
  CHECK(cancelled());
  CHECK(thrown_code() == static_cast<int>(ErrorCode::kInterrupted));
  withdraw_cancel();
  CHECK_FALSE(cancelled());
  const int status = status_of([] {
    install_signal_handlers();
    request_cancel();
    std::raise(SIGTERM);
    withdraw_cancel();
    return thrown_code();
  });
  CHECK(exit_code(status) == static_cast<int>(ErrorCode::kTerminated));
}

TEST_CASE("cancel: asking does not take the mark away", "[base]") {
  const int status = status_of([] {
    install_signal_handlers();
    std::raise(SIGINT);
    const int first = thrown_code();
    return first == thrown_code() ? first : 1;
  });
  CHECK(exit_code(status) == static_cast<int>(ErrorCode::kInterrupted));
}

TEST_CASE("cancel: a later second signal ends the process at once, whichever the first was", "[base]") {
  const int first = GENERATE(SIGINT, SIGTERM), second = GENERATE(SIGINT, SIGTERM);
  CAPTURE(first, second);
  const int status = status_of([&] {
    install_signal_handlers();
    std::raise(first);
    ::usleep(600'000);
    std::raise(second);
    return 0;
  });
  CHECK(killed_by(status) == second);
}

TEST_CASE("cancel: two signals in a row are one", "[base]") {
  const int status = status_of([&] {
    install_signal_handlers();
    std::raise(SIGTERM);
    std::raise(SIGTERM);
    std::raise(SIGINT);
    return thrown_code();
  });
  CHECK(exit_code(status) == static_cast<int>(ErrorCode::kTerminated));
}

}  // namespace ctq
