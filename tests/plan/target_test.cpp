#include "ctq/plan/target.h"

#include <string>

#include <catch2/catch.hpp>

namespace ctq::plan {
namespace {

std::string label(const format::Codec* codec) { return codec ? codec->label() : "none"; }

TEST_CASE("codec_of_type: every scaling mode of both types", "[plan]") {
  CHECK(label(codec_of_type("int8", "")) == "int8_blockwise (block)");
  CHECK(label(codec_of_type("int8", "block")) == "int8_blockwise (block)");
  CHECK(label(codec_of_type("int8", "block2d")) == "int8_blockwise (block)");
  CHECK(label(codec_of_type("int8", "row")) == "int8_tensorwise (row)");
  CHECK(label(codec_of_type("int8", "tensor")) == "int8_tensorwise (tensor)");
  CHECK(label(codec_of_type("int8", "axis")) == "int8_axiswise (row)");
  CHECK(label(codec_of_type("int8", "block3d")) == "none");
  CHECK(label(codec_of_type("fp8", "")) == "float8_e4m3fn (tensor)");
  CHECK(label(codec_of_type("fp8", "row")) == "float8_e4m3fn_rowwise (row)");
  CHECK(label(codec_of_type("fp8", "axis")) == "float8_e4m3fn_rowwise (row)");
  CHECK(label(codec_of_type("fp8", "block")) == "float8_e4m3fn_blockwise (block)");
  CHECK(label(codec_of_type("fp8", "block3d")) == "float8_e4m3fn_block3d (block3d)");
}

TEST_CASE("codec_of_format: the name fixes the scaling mode", "[plan]") {
  for (const format::Codec& codec : format::registry()) {
    INFO(codec.label());
    CHECK(codec_of_format(codec.format, "")->format == codec.format);
  }
  CHECK(label(codec_of_format("int8_tensorwise", "")) == "int8_tensorwise (row)");
  CHECK(label(codec_of_format("int8_tensorwise", "row")) == "int8_tensorwise (row)");
  CHECK(label(codec_of_format("int8_tensorwise", "tensor")) == "int8_tensorwise (tensor)");
  CHECK(label(codec_of_format("int8_axiswise", "axis")) == "int8_axiswise (row)");
  CHECK(label(codec_of_format("float8_e4m3fn_rowwise", "axis")) == "float8_e4m3fn_rowwise (row)");
  CHECK(label(codec_of_format("float8_e4m3fn_blockwise", "block2d")) == "float8_e4m3fn_blockwise (block)");

  CHECK(codec_of_format("int8_tensorwise", "axis") == nullptr);
  CHECK(codec_of_format("int8_tensorwise", "block") == nullptr);
  CHECK(codec_of_format("int8_axiswise", "row") == nullptr);
  CHECK(codec_of_format("float8_e4m3fn_rowwise", "tensor") == nullptr);
  CHECK(codec_of_format("float8_e5m2", "row") == nullptr);
  CHECK(codec_of_format("int9", "") == nullptr);
}

TEST_CASE("Target: its label names the block size", "[plan]") {
  CHECK(Target{}.label() == "float16");
  CHECK(Target{codec_of_type("int8", "block"), 64}.label() == "int8_blockwise (block 64)");
  CHECK(Target{codec_of_type("fp8", "row"), 0}.label() == "float8_e4m3fn_rowwise (row)");
}

}  // namespace
}  // namespace ctq::plan
