#include "base/log.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "support/temp_dir.h"

namespace ctq {
namespace {

using ctq::test::read_file;
using ctq::test::TempDir;

struct Streams {
  std::string out;
  std::string err;
};

/// What `work` prints, in a process of its own: the logger is one for the whole program.
Streams streams_of(const std::function<void()>& work) {
  const TempDir dir;
  const std::string out = dir / "out", err = dir / "err";
  std::cout.flush();  // or the child prints the test runner's lines once more
  std::fflush(stdout);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::dup2(::open(out.c_str(), O_CREAT | O_WRONLY, 0600), STDOUT_FILENO);
    ::dup2(::open(err.c_str(), O_CREAT | O_WRONLY, 0600), STDERR_FILENO);
    work();
    ::_exit(0);  // nothing of the parent's buffers is printed twice
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  return {read_file(out), read_file(err)};
}

/// One line of each level.
void log_all_levels() {
  spdlog::trace("trace");
  spdlog::debug("debug");
  spdlog::info("info");
  warn("warning {}", 1);
  spdlog::error("error");
}

}  // namespace

TEST_CASE("log: notes go to standard output, warnings and errors to standard error", "[base]") {
  const Streams streams = streams_of([] {
    start_log(Verbosity::kNormal, /*notes_to_stderr=*/false);
    log_all_levels();
  });
  CHECK(streams.out == "info\n");
  CHECK(streams.err == "convert_to_quant: warning: warning 1\nconvert_to_quant: error: error\n");
}

TEST_CASE("log: notes can leave standard output free", "[base]") {
  const Streams streams = streams_of([] {
    start_log(Verbosity::kNormal, /*notes_to_stderr=*/true);
    log_all_levels();
  });
  CHECK(streams.out == "");
  CHECK(streams.err.find("info\n") != std::string::npos);
  CHECK(streams.err.find("warning 1\n") != std::string::npos);
  CHECK(streams.err.find("error\n") != std::string::npos);
}

TEST_CASE("log: each verbosity adds a level", "[base]") {
  struct Row {
    Verbosity verbosity;
    std::string out;
  };
  const auto row = GENERATE(values<Row>(
      {{Verbosity::kMinimal, ""}, {Verbosity::kNormal, "info\n"}, {Verbosity::kVerbose, "debug\ninfo\n"}}));
  const Streams streams = streams_of([&] {
    start_log(row.verbosity, /*notes_to_stderr=*/false);
    log_all_levels();
  });
  CHECK(streams.out == row.out);
  CHECK(streams.err.find("warning 1") != std::string::npos);
}

TEST_CASE("log: debugging shows everything", "[base]") {
  const Streams streams = streams_of([] {
    start_log(Verbosity::kDebug, /*notes_to_stderr=*/false);
    log_all_levels();
  });
  for (const char* word : {"trace", "debug", "info"}) CHECK(streams.out.find(word) != std::string::npos);
}

TEST_CASE("log: a message is printed as it is, whatever it holds", "[base]") {
  const Streams streams = streams_of([] {
    start_log(Verbosity::kNormal, /*notes_to_stderr=*/false);
    warn("tensor '{}'", "{0} {} %d");
  });
  CHECK(streams.err == "convert_to_quant: warning: tensor '{0} {} %d'\n");
}

TEST_CASE("log: warnings are counted, also those of other threads and those not shown", "[base]") {
  const spdlog::level::level_enum level = spdlog::default_logger()->level();
  spdlog::default_logger()->set_level(spdlog::level::off);
  const int before = warning_count();
  warn("one");
  CHECK(warning_count() == before + 1);
  spdlog::info("no warning");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 250; ++i) warn("many");
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(warning_count() == before + 1001);
  spdlog::default_logger()->set_level(level);
}

}  // namespace ctq
