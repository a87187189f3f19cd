// What a program prints when a person looks at it.
#pragma once

#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <iostream>
#include <string>

namespace ctq::test {

/// Runs `work` in a process whose three streams are a terminal; what it printed, line ends as they were
/// written.
inline std::string printed_on_terminal(const std::function<void()>& work) {
  std::cout.flush(), std::fflush(nullptr);  // what is left in a buffer, the child would print again
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, nullptr);
  if (child == 0) {
    work();
    ::_exit(0);
  }
  std::string text;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t count = ::read(terminal, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;  // EIO: the other side is closed
    for (ssize_t i = 0; i < count; ++i)
      if (buffer[static_cast<size_t>(i)] != '\r') text += buffer[static_cast<size_t>(i)];
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ::close(terminal);
  return text;
}

}  // namespace ctq::test
