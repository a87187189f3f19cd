#include "format/marker_json.h"

#include <catch2/catch.hpp>

#include "support/matchers.h"

namespace ctq::format {

using test::HasCode;

TEST_CASE("marker: calibrated becomes the last key, other keys stay as they are", "[format]") {
  CHECK(calibrated_marker(R"({"format": "float8_e4m3fn"})") ==
        R"({"format": "float8_e4m3fn", "input_scale_calibrated": true})");
  CHECK(calibrated_marker(R"({"z":1.5,"a":[1,{"b":null}],"format":"x"})") ==
        R"({"z": 1.5, "a": [1, {"b": null}], "format": "x", "input_scale_calibrated": true})");
  CHECK(calibrated_marker(R"({"input_scale_calibrated": false, "format": "x"})") ==
        R"({"format": "x", "input_scale_calibrated": true})");
  CHECK(calibrated_marker("{}") == R"({"input_scale_calibrated": true})");
  const std::string already = R"({"input_scale_calibrated":true,"format":"x"})";
  CHECK(calibrated_marker(already) == already);
  for (const char* bad : {"", "[]", "{", "\xff"})
    CHECK_THROWS_MATCHES(calibrated_marker(bad), Error, HasCode(ErrorCode::kBadInput, "not a JSON object"));
}

TEST_CASE("marker: the header's copy changes for the layers that are named", "[format]") {
  CHECK(
      calibrated_metadata(
          R"({"format_version": "1.0", "layers": {"a": {"format": "x"}, "b": {"format": "x"}}})",
          {"b", "c"}) ==
      R"({"format_version": "1.0", "layers": {"a": {"format": "x"}, "b": {"format": "x", "input_scale_calibrated": true}}})");
  CHECK_THROWS_MATCHES(calibrated_metadata("{}", {"a"}), Error, HasCode(ErrorCode::kBadInput, "'layers'"));
}

}  // namespace ctq::format
