// Runs the program as a user would.
#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/shell.h"
#include "temp_dir.h"

namespace ctq::test {

struct Outcome {
  int code = 0;
  std::string out;
  std::string err;
};

/// Exit code, standard output and standard error of `convert_to_quant args...`. `prefix` may set variables or
/// wrap the call.
inline Outcome run_binary(const std::vector<std::string>& args, const std::string& prefix = "") {
  const TempDir streams;
  std::string command = prefix + " " + shell_quoted(CTQ_BINARY);
  for (const std::string& arg : args) command += " " + shell_quoted(arg);
  command += " >" + shell_quoted(streams / "out") + " 2>" + shell_quoted(streams / "err") + " </dev/null";
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_file(streams / "out"),
          read_file(streams / "err")};
}

/// The same where that exit code is required.
inline Outcome run_expecting(const std::vector<std::string>& args, int code) {
  Outcome outcome = run_binary(args);
  INFO(outcome.err << outcome.out);
  REQUIRE(outcome.code == code);
  return outcome;
}

}  // namespace ctq::test
