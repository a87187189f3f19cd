// What a child says, passed on with the file's name where lines of several files mix.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include "jobs.h"

namespace ctq::cli::batch {

enum class Relay : unsigned char {
  kBytes,  ///< as they come: one file at a time, live progress included
  kLines,  ///< whole lines with the file in front
  kJson,   ///< objects of --progress json with the file in them; other lines as they are
};

/// One stream of one child.
class OutputRelay {
 public:
  OutputRelay(const Job& job, Relay relay, FILE* to) : job_(job), relay_(relay), to_(to) {}

  void take(std::string_view bytes);
  /// Passes on a last line without its end.
  void finish();

  /// The child's last error message, without the program's name; empty: none.
  const std::string& error() const { return error_; }

 private:
  void take_line(const std::string& line);

  const Job& job_;
  const Relay relay_;
  FILE* const to_;
  std::string unfinished_;
  std::string error_;
};

}  // namespace ctq::cli::batch
