#include "plan/target.h"

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

TEST_CASE("codec_of_type: NVFP4 and MXFP8 have one layout each", "[plan]") {
  CHECK(label(codec_of_type("nvfp4", "")) == "nvfp4 (group)");
  CHECK(label(codec_of_type("mxfp8", "")) == "mxfp8 (group)");
  for (const std::string_view mode : {"tensor", "row", "block"})
    CHECK(label(codec_of_type("nvfp4", mode)) == "none");
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

TEST_CASE("rotation_group_for: a format that is always rotated takes what divides", "[plan]") {
  Target target;
  target.codec = codec_of_format("convrot_w4a4", "");
  CHECK(rotation_group_for(target, 512) == 256);
  CHECK(rotation_group_for(target, 192) == 64);
  target.codec = codec_of_format("asym_w4a8_int8", "");
  CHECK(rotation_group_for(target, 48) == 16);
  target.rotation_group = 64;
  CHECK(rotation_group_for(target, 512) == 64);
  target.dynamic_rotation = true;
  CHECK(rotation_group_for(target, 1024) == 1024);
}

TEST_CASE("rotation_group_for: what divides the width, 64 where 256 does not", "[plan]") {
  Target target;
  target.codec = codec_of_type("int8", "row");
  const auto group = [&](int64_t asked, int64_t in_features, bool dynamic = false) {
    target.rotation_group = asked;
    target.dynamic_rotation = dynamic;
    return rotation_group_for(target, in_features);
  };
  CHECK(group(0, 512) == 0);
  CHECK(group(256, 512) == 256);
  CHECK(group(256, 384) == 64);
  CHECK(group(256, 100) == 0);
  CHECK(group(64, 100) == 0);
  CHECK(group(1024, 1536) == 0);
  CHECK(group(4, 100) == 4);
  CHECK(group(256, 4096) == 256);
  CHECK(group(256, 4096, true) == 4096);
  CHECK(group(256, 3072, true) == 1024);
  CHECK(group(256, 1536, true) == 256);
  CHECK(group(256, 384, true) == 64);
  CHECK(is_rotation_group(4096));
  CHECK_FALSE(is_rotation_group(8));
  CHECK_FALSE(is_rotation_group(1));
  target.rotation_group = 256;
  CHECK(target.label() == "int8_tensorwise (row, convrot 256)");
  CHECK(takes_rotation(*target.codec));
  CHECK_FALSE(takes_rotation(*codec_of_type("int8", "axis")));
  CHECK_FALSE(takes_rotation(*codec_of_type("int8", "tensor")));
  CHECK_FALSE(takes_rotation(*codec_of_type("fp8", "row")));
}

}  // namespace
}  // namespace ctq::plan
