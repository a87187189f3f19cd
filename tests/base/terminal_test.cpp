#include "base/terminal.h"

#include <cstdlib>

#include <catch2/catch.hpp>

#include "base/log.h"
#include "support/pseudo_terminal.h"
#include "support/temp_dir.h"

namespace ctq {
namespace {

struct Variables {
  const char* no_color;  ///< null: not set
  const char* term;
};

/// In a process of its own, on a terminal.
std::string painted(const Variables& variables) {
  return test::printed_on_terminal([&] {
    ::unsetenv("NO_COLOR"), ::unsetenv("TERM");
    if (variables.no_color) ::setenv("NO_COLOR", variables.no_color, 1);
    if (variables.term) ::setenv("TERM", variables.term, 1);
    fmt::print("{}", Paint(stdout)(Tone::kGood, "word"));
    std::fflush(stdout);
  });
}

TEST_CASE("terminal: words are coloured on a terminal, unless NO_COLOR or TERM=dumb says not", "[base]") {
  CHECK(painted({nullptr, "xterm"}) == "\x1b[32mword\x1b[0m");
  CHECK(painted({nullptr, nullptr}) == "\x1b[32mword\x1b[0m");
  CHECK(painted({"", "xterm"}) == "\x1b[32mword\x1b[0m");
  CHECK(painted({"1", "xterm"}) == "word");
  CHECK(painted({"0", "xterm"}) == "word");
  CHECK(painted({nullptr, "dumb"}) == "word");
}

TEST_CASE("terminal: a file is none, whatever the variables say", "[base]") {
  const test::TempDir dir;
  std::FILE* file = std::fopen((dir / "x").c_str(), "w");
  REQUIRE(file);
  CHECK_FALSE(colours(file));
  CHECK(Paint(file)(Tone::kBad, "word") == "word");
  CHECK(Paint()(Tone::kBad, "word") == "word");
  std::fclose(file);
}

TEST_CASE("terminal: the log colours the level's word alone", "[base]") {
  const auto logged = [](const char* no_color) {
    return test::printed_on_terminal([&] {
      ::setenv("TERM", "xterm", 1), ::setenv("NO_COLOR", no_color, 1);
      start_log(Verbosity::kNormal, /*notes_to_stderr=*/false);
      spdlog::info("note");
      warn("careful");
      spdlog::error("wrong");
    });
  };
  const std::string coloured = logged("");
  CHECK_THAT(coloured, Catch::StartsWith("note\n"));
  CHECK_THAT(coloured, Catch::Contains("convert_to_quant: \x1b[33mwarning\x1b["));
  CHECK_THAT(coloured, Catch::Contains("convert_to_quant: \x1b[31merror\x1b["));
  CHECK(logged("1") == "note\nconvert_to_quant: warning: careful\nconvert_to_quant: error: wrong\n");
}

}  // namespace
}  // namespace ctq
