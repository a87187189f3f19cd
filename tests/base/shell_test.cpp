#include "base/shell.h"

#include <catch2/catch.hpp>

namespace ctq {

TEST_CASE("shell: words come back as they are, whatever they hold", "[base]") {
  CHECK(shell_quoted("a b") == "'a b'");
  CHECK(shell_quoted("it's") == "'it'\\''s'");
  CHECK(shell_quoted("") == "''");
  CHECK(shell_word("/models/flux-1_dev.safetensors") == "/models/flux-1_dev.safetensors");
  CHECK(shell_word("--scaling_mode=row") == "--scaling_mode=row");
  for (const char* odd : {"", "a b", "$HOME", "a;b", "*", "it's", "\"", "~", "(a)", "a\nb"})
    CHECK(shell_word(odd) == shell_quoted(odd));
}

}  // namespace ctq
