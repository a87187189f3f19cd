// The one exception of the program, and its kinds, which are the exit codes.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace ctq {

/// What went wrong, as the shell sees it (docs/cli.md, "Exit codes").
enum class ErrorCode : int {
  kFailure = 1,        ///< converting or writing failed: I/O, memory, device, nothing to do
  kUsage = 2,          ///< the command line is wrong, or asks for what this version cannot do
  kQuality = 3,        ///< written, but an explicit quality threshold is not met
  kBadInput = 4,       ///< an input file is missing, unreadable, truncated or inconsistent
  kInterrupted = 130,  ///< SIGINT
  kTerminated = 143,   ///< SIGTERM
};

/// The message names the thing, the fact and the way out, in one paragraph, without a prefix.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

/// Whether a signal ended what was going on.
inline bool is_interruption(const Error& error) {
  return error.code() == ErrorCode::kInterrupted || error.code() == ErrorCode::kTerminated;
}

/// Throws Error(code) with the formatted message.
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> message, Args&&... args) {
  throw Error(code, fmt::format(message, std::forward<Args>(args)...));
}

}  // namespace ctq
