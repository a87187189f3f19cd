// The log: notes go to standard output, warnings and errors to standard error.
#pragma once

#include <spdlog/spdlog.h>

namespace ctq {

/// Levels of --verbose. spdlog's names in brackets.
enum class Verbosity {
  kMinimal,  ///< warnings, errors and the closing lines (warn)
  kNormal,   ///< one line per tensor and what a person keeps (info)
  kVerbose,  ///< parameters, shapes, device choices (debug)
  kDebug,    ///< everything, with source positions (trace)
};

/// Sets up spdlog's default logger. `notes_to_stderr` keeps standard output free for JSON.
void start_log(Verbosity verbosity, bool notes_to_stderr);

/// spdlog::warn, counted.
template <typename... Args>
void warn(fmt::format_string<Args...> message, Args&&... args);

/// How many warnings were logged by warn().
int warning_count();

namespace detail {
void log_warning(const std::string& message);
}

template <typename... Args>
void warn(fmt::format_string<Args...> message, Args&&... args) {
  detail::log_warning(fmt::format(message, std::forward<Args>(args)...));
}

}  // namespace ctq
