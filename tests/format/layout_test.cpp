#include "format/layout.h"

#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

namespace ctq::format {
namespace {

std::string marker(std::string_view format, Granularity granularity, MarkerOptions options = {}) {
  const Codec* codec = find_codec(format, granularity);
  REQUIRE(codec != nullptr);
  return marker_json(*codec, 128, options);
}

TEST_CASE("marker_json: has the bytes that the clients' own tools write", "[format]") {
  CHECK(marker("float8_e4m3fn", Granularity::kTensor) == R"({"format": "float8_e4m3fn"})");
  CHECK(marker("float8_e4m3fn", Granularity::kTensor).size() == 27);
  CHECK(marker("float8_e5m2", Granularity::kTensor) == R"({"format": "float8_e5m2"})");
  CHECK(marker("int8_tensorwise", Granularity::kTensor) == R"({"format": "int8_tensorwise"})");
  CHECK(marker("int8_tensorwise", Granularity::kRow) == R"({"format": "int8_tensorwise"})");
  CHECK(marker("int8_axiswise", Granularity::kRow) == R"({"format": "int8_axiswise"})");
  CHECK(marker("int8_blockwise", Granularity::kBlock) ==
        R"({"format": "int8_blockwise", "group_size": 128})");
  CHECK(marker("float8_e4m3fn_rowwise", Granularity::kRow) == R"({"format": "float8_e4m3fn_rowwise"})");
  CHECK(marker("float8_e4m3fn_blockwise", Granularity::kBlock) ==
        R"({"format": "float8_e4m3fn_blockwise", "group_size": 128})");
  CHECK(marker("float8_e4m3fn_block3d", Granularity::kBlock3d) ==
        R"({"format": "float8_e4m3fn_block3d", "group_size": 128})");
}

TEST_CASE("marker_json: formats that are stored padded say the weight's shape", "[format]") {
  const MarkerOptions shape = {.full_precision_matrix_mult = true, .out_features = 30, .in_features = 64};
  CHECK(marker("nvfp4", Granularity::kGroup, shape) ==
        R"({"format": "nvfp4", "full_precision_matrix_mult": true, "orig_shape": [30, 64]})");
  CHECK(marker("mxfp8", Granularity::kGroup, {.out_features = 3072, .in_features = 15}) ==
        R"({"format": "mxfp8", "orig_shape": [3072, 15]})");
}

TEST_CASE("marker_json: rotated formats, and those with groups", "[format]") {
  const MarkerOptions rotated = {.rotation_group = 256};
  CHECK(marker("int8_tensorwise", Granularity::kRow, rotated) ==
        R"({"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 256})");
  CHECK(marker("convrot_w4a4", Granularity::kRow, rotated) ==
        R"({"format": "convrot_w4a4", "convrot_groupsize": 256})");
  CHECK(marker("asym_w4a8_int8", Granularity::kGroup, rotated) ==
        R"({"format": "asym_w4a8_int8", "group_size": 16, "convrot_groupsize": 256})");
  CHECK(marker("awq_w4a16", Granularity::kGroup) == R"({"format": "awq_w4a16", "group_size": 64})");
  CHECK(marker("convrot_w4a4", Granularity::kRow,
               {.rotation_group = 256, .linear_dtype = LinearDtype::kInt8}) ==
        R"({"format": "convrot_w4a4", "convrot_groupsize": 256, "linear_dtype": "int8"})");
}

TEST_CASE("marker_json: full_precision_matrix_mult stands directly after the format", "[format]") {
  const MarkerOptions full = {.full_precision_matrix_mult = true};
  CHECK(marker("float8_e4m3fn", Granularity::kTensor, full) ==
        R"({"format": "float8_e4m3fn", "full_precision_matrix_mult": true})");
  CHECK(marker("int8_blockwise", Granularity::kBlock, full) ==
        R"({"format": "int8_blockwise", "full_precision_matrix_mult": true, "group_size": 128})");
}

TEST_CASE("quantization_metadata_json: one entry per layer, by name", "[format]") {
  CHECK(quantization_metadata_json({}) == R"({"format_version": "1.0", "layers": {}})");
  CHECK(
      quantization_metadata_json(
          {{"b", R"({"format": "float8_e5m2"})"}, {"a.0", R"({"format": "int8_tensorwise"})"}}) ==
      R"({"format_version": "1.0", "layers": {"a.0": {"format": "int8_tensorwise"}, "b": {"format": "float8_e5m2"}}})");
}

TEST_CASE("quantization_metadata_json: layer names that need escaping come back as they were", "[format]") {
  const std::string name = "quote\" slash\\ newline\n \xE5\xB1\x82";
  const std::string json = quantization_metadata_json({{name, R"({"format": "int8_tensorwise"})"}});
  const auto parsed = nlohmann::json::parse(json);
  CHECK(parsed["layers"].begin().key() == name);
  CHECK(parsed["layers"][name]["format"] == "int8_tensorwise");
}

TEST_CASE("names: a layer's tensors in both layouts", "[format]") {
  CHECK(layer_of("blocks.0.to_q.weight") == "blocks.0.to_q");
  CHECK(layer_of("a.weight.weight") == "a.weight");
  CHECK(side_name("blocks.0.to_q", "weight", Layout::kComfy) == "blocks.0.to_q.weight");
  CHECK(side_name("blocks.0.to_q", "weight_scale", Layout::kComfy) == "blocks.0.to_q.weight_scale");
  CHECK(side_name("blocks.0.to_q", "comfy_quant", Layout::kComfy) == "blocks.0.to_q.comfy_quant");
  CHECK(side_name("blocks.0.to_q", "weight", Layout::kLegacy) == "blocks.0.to_q.weight");
  CHECK(side_name("blocks.0.to_q", "weight_scale", Layout::kLegacy) == "blocks.0.to_q.scale_weight");
  CHECK(side_name("blocks.0.to_q", "input_scale", Layout::kLegacy) == "blocks.0.to_q.scale_input");
}

}  // namespace
}  // namespace ctq::format
