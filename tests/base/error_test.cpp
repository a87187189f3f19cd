#include "base/error.h"

#include <string>

#include <catch2/catch.hpp>

#include "support/matchers.h"

namespace ctq {

TEST_CASE("fail: throws the code with the formatted message", "[base]") {
  CHECK_THROWS_MATCHES(fail(ErrorCode::kBadInput, "{}: ends at byte {}", "x.safetensors", 17), Error,
                       test::HasCode(ErrorCode::kBadInput, "x.safetensors: ends at byte 17"));
  CHECK_THROWS_WITH(fail(ErrorCode::kUsage, "plain"), "plain");
}

TEST_CASE("fail: braces of an argument are text, not a format", "[base]") {
  const std::string name = "{}{0}%s";
  CHECK_THROWS_WITH(fail(ErrorCode::kFailure, "tensor '{}'", name), "tensor '{}{0}%s'");
}

TEST_CASE("ErrorCode: the values are the exit codes that scripts rely on", "[base]") {
  CHECK(static_cast<int>(ErrorCode::kFailure) == 1);
  CHECK(static_cast<int>(ErrorCode::kUsage) == 2);
  CHECK(static_cast<int>(ErrorCode::kQuality) == 3);
  CHECK(static_cast<int>(ErrorCode::kBadInput) == 4);
  CHECK(static_cast<int>(ErrorCode::kInterrupted) == 128 + 2);
  CHECK(static_cast<int>(ErrorCode::kTerminated) == 128 + 15);
}

}  // namespace ctq
