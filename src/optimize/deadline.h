// The end of an iterative optimizer by the clock.
#pragma once

#include <chrono>
#include <optional>

namespace ctq::optimize {

inline bool is_past(const std::optional<std::chrono::steady_clock::time_point>& deadline) {
  return deadline && std::chrono::steady_clock::now() >= *deadline;
}

}  // namespace ctq::optimize
