#include "pipeline/format_errors.h"

#include <catch2/catch.hpp>

using namespace ctq;
using namespace ctq::pipeline;

namespace {

FormatError measured(const char* format, uint64_t bytes, double sqnr_db) {
  FormatError made;
  made.target.codec = plan::codec_of_format(format, "");
  made.bytes = bytes, made.error.sqnr_db = sqnr_db;
  return made;
}

}  // namespace

TEST_CASE("format errors: the smallest format that reaches the goal, in whatever order they were measured",
          "[pipeline]") {
  const std::vector<LayerFormatErrors> layers{
      {"a",
       400,
       {measured("int8_tensorwise", 210, 40), measured("float8_e4m3fn", 200, 31),
        measured("nvfp4", 110, 20)}},
      {"b", 400, {measured("nvfp4", 110, 19)}},
      {"c", 400, {}}};
  const plan::Measured chosen = smallest_formats(layers, 31);
  CHECK(chosen.at("a").target->codec->format == "float8_e4m3fn");
  CHECK(chosen.at("a").reason == "31.00 dB");
  CHECK_FALSE(chosen.at("b").target.has_value());
  CHECK_FALSE(chosen.at("c").target.has_value());
  CHECK(smallest_formats(layers, 19).at("b").target->codec->format == "nvfp4");
  CHECK(smallest_formats(layers, 35).at("a").target->codec->format == "int8_tensorwise");
}
