// This program once more, in a process of its own.
#pragma once

#include <sys/types.h>

#include <array>
#include <string>
#include <vector>

namespace ctq::cli::batch {

/// A running child. Its standard output and standard error are pipes to us; it reads nothing. One that is
/// destroyed before wait() is stopped.
class Child {
 public:
  /// args: without the program's name.
  /// throws  Error(kFailure) when the system refuses another process
  explicit Child(const std::vector<std::string>& args);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// File descriptors: standard output, standard error. They do not block.
  const std::array<int, 2>& streams() const { return streams_; }
  void signal(int number) const;

  /// Waits for the end.
  /// returns  the exit code, or minus the signal that ended it
  int wait();

 private:
  pid_t pid_ = -1;
  std::array<int, 2> streams_{-1, -1};
};

}  // namespace ctq::cli::batch
