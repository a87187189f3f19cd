// Which layers of a file are quantized, and who says so.
#include "quantized/layers.h"

#include <catch2/catch.hpp>

#include "support/quantized_checkpoint.h"

namespace ctq::quantized {
namespace {

using namespace ctq::test;
using safetensors::Dtype;

TestTensor codes(std::string name, Dtype dtype, std::vector<int64_t> shape = {4, 8}) {
  size_t count = 1;
  for (const int64_t size : shape) count *= static_cast<size_t>(size);
  return tensor(std::move(name), dtype, std::move(shape), std::string(count, '\x30'));
}

TestTensor u8(std::string name, char value) {
  return tensor(std::move(name), Dtype::kU8, {1}, std::string(1, value));
}

const Layer& only_layer(const QuantizedFile& file) {
  REQUIRE(file.layers.size() == 1);
  return file.layers.front();
}

}  // namespace

TEST_CASE("find_layers: a marker names the format and its parameters", "[quantized]") {
  const Opened opened(
      {codes("a.weight", Dtype::kI8), f32("a.weight_scale", {4, 1}, {1, 2, 3, 4}),
       f32("a.bias", {4}, {0, 0, 0, 0}),
       marker("a", R"({"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 4})")});
  const Layer& layer = only_layer(opened.file);
  CHECK(layer.name == "a");
  CHECK(layer.dialect == Dialect::kMarker);
  CHECK(layer.format == "int8_tensorwise");
  CHECK(layer.rotation_group() == 4);
  CHECK(layer.shape() == std::vector<int64_t>{4, 8});
  CHECK(layer.scale() == opened.checkpoint.find("a.weight_scale"));
  CHECK(opened.file.of_weight(*opened.checkpoint.find("a.weight")) == &layer);
  CHECK(opened.file.is_side("a.comfy_quant"));
  CHECK(opened.file.is_side("a.weight_scale"));
  CHECK_FALSE(opened.file.is_side("a.bias"));
  CHECK_FALSE(opened.file.is_side("a.weight"));
}

TEST_CASE("find_layers: parameters may be nested, and the header wins over the tensor", "[quantized]") {
  const Opened opened(
      {codes("a.weight", Dtype::kI8), f32("a.weight_scale", {}, {1}),
       marker("a", R"({"format": "int8_tensorwise"})"), codes("b.weight", Dtype::kI8),
       f32("b.weight_scale", {}, {1})},
      {{"_quantization_metadata",
        R"({"layers": {"a": {"format": "int8_tensorwise", "params": {"convrot": true, "convrot_groupsize": 4}},
                       "b": {"format": "int8_tensorwise"}}})"}});
  REQUIRE(opened.file.layers.size() == 2);
  CHECK(opened.file.has_header_map);
  CHECK(opened.file.layers[0].rotation_group() == 4);
  CHECK(opened.file.layers[0].dialect == Dialect::kMarker);
  CHECK(opened.file.layers[0].marker_differs);
  CHECK(opened.file.layers[1].dialect == Dialect::kHeader);
  CHECK_FALSE(opened.file.layers[1].marker_differs);
}

TEST_CASE("find_layers: unreadable markers are findings", "[quantized]") {
  const auto fault = [](const TestTensor& broken) {
    const Opened opened({codes("a.weight", Dtype::kI8), broken});
    return only_layer(opened.file).marker_fault;
  };
  CHECK(fault(marker("a", "{")).starts_with("comfy_quant is not JSON"));
  CHECK(fault(marker("a", std::string("{}\0", 3))) == "comfy_quant is not JSON: a NUL at byte 3");
  CHECK(fault(marker("a", "[]")) == "comfy_quant is not a JSON object");
  CHECK(fault(tensor("a.comfy_quant", Dtype::kI16, {1}, "{}")) ==
        "comfy_quant is I16 [1], not U8 with one dimension");
  CHECK(fault(tensor("a.comfy_quant", Dtype::kI8, {2}, "{}")).empty());
  const Opened header({codes("a.weight", Dtype::kI8)},
                      {{"_quantization_metadata", R"({"layers": {"a": 1}})"}});
  CHECK(header.file.header_fault.find("_quantization_metadata is not JSON with an object") == 0);
}

TEST_CASE("find_layers: scaled_fp8 covers the scales under its prefix", "[quantized]") {
  const Opened opened({codes("m.a.weight", Dtype::kF8E4M3), f32("m.a.scale_weight", {1}, {2}),
                       codes("m.scaled_fp8", Dtype::kF8E4M3, {2}), bf16_weight("m.kept.weight", 4, 8),
                       f32("m.kept.scale_weight", {}, {1}), f32("m.gone.scale_weight", {}, {1})});
  REQUIRE(opened.file.layers.size() == 2);
  CHECK(opened.file.scaled_fp8 == std::vector<std::string>{"m.scaled_fp8"});
  CHECK(opened.file.layers[0].dialect == Dialect::kScaledFp8);
  CHECK(opened.file.layers[0].has_codes());
  CHECK(opened.file.layers[1].name == "m.kept");
  CHECK_FALSE(opened.file.layers[1].has_codes());
  CHECK(opened.file.strays == std::vector<std::string>{"m.gone.scale_weight"});
}

TEST_CASE("find_layers: one-byte scales, declared or told by the codes of kept layers", "[quantized]") {
  const std::vector<TestTensor> tensors = {codes("a.weight", Dtype::kF8E4M3), u8("a.scale_weight", '\x40'),
                                           u8("scale_format", 8), bf16_weight("kept.weight", 4, 8),
                                           u8("kept.scale_weight", static_cast<char>(170))};
  const Opened seed(tensors);
  REQUIRE(seed.file.log_scales);
  CHECK(only_layer(seed.file).dialect == Dialect::kLogScales);
  CHECK(seed.file.log_scales->log10_min == -12);
  CHECK(seed.file.log_scales->multiplier);
  CHECK(seed.file.is_side("kept.scale_weight"));
  const Opened ours(tensors, {{"ctq.scale8", R"({"log10_min": -10, "log10_max": 2, "meaning": "dequant"})"}});
  CHECK(ours.file.log_scales->declared);
  CHECK(ours.file.log_scales->log10_min == -10);
  CHECK_FALSE(ours.file.log_scales->multiplier);
  CHECK_FALSE(Opened(tensors, {{"ctq.scale8", "{}"}}).file.header_fault.empty());
  // The same origin also declares 32, beside ordinary scales.
  const Opened plain({codes("a.weight", Dtype::kF8E4M3), f32("a.scale_weight", {}, {1}),
                      u8("scale_format", 32), codes("scaled_fp8", Dtype::kF8E4M3, {2})});
  CHECK_FALSE(plain.file.log_scales);
  CHECK(only_layer(plain.file).dialect == Dialect::kScaledFp8);
}

TEST_CASE("find_layers: scales without a marker, and FP8 without a scale", "[quantized]") {
  const Opened opened({codes("a.weight", Dtype::kI8), f32("a.scale_weight", {2, 2}, {1, 1, 1, 1}),
                       codes("b.weight", Dtype::kF8E5M2), codes("pe", Dtype::kF8E4M3, {3})});
  REQUIRE(opened.file.layers.size() == 3);
  CHECK(opened.file.layers[0].dialect == Dialect::kUnmarked);
  CHECK(opened.file.layers[0].format == "int8_blockwise");
  CHECK(opened.file.layers[1].dialect == Dialect::kRaw);
  CHECK(opened.file.layers[1].format == "float8_e5m2");
  CHECK(opened.file.layers[2].name == "pe");
  CHECK(find_layers(Opened({bf16_weight("a.weight", 4, 8)}).checkpoint).layers.empty());
}

TEST_CASE("format_of_scale: by rows, never by columns", "[quantized]") {
  const std::vector<int64_t> weight = {8, 16};
  CHECK(format_of_scale(Dtype::kI8, weight, {}) == "int8_tensorwise");
  CHECK(format_of_scale(Dtype::kI8, weight, {1}) == "int8_tensorwise");
  CHECK(format_of_scale(Dtype::kI8, weight, {8, 1}) == "int8_tensorwise");
  CHECK(format_of_scale(Dtype::kI8, weight, {8}) == "int8_axiswise");
  CHECK(format_of_scale(Dtype::kI8, weight, {16}).empty());
  CHECK(format_of_scale(Dtype::kI8, weight, {2, 4}) == "int8_blockwise");
  CHECK(format_of_scale(Dtype::kI8, weight, {8, 4, 1}) == "int8_blockwise");
  CHECK(format_of_scale(Dtype::kI8, weight, {3, 4}).empty());
  CHECK(format_of_scale(Dtype::kF8E4M3, weight, {8}) == "float8_e4m3fn_rowwise");
  CHECK(format_of_scale(Dtype::kF8E4M3, weight, {2, 4}) == "float8_e4m3fn_blockwise");
  CHECK(format_of_scale(Dtype::kF8E4M3, weight, {8, 4, 1}) == "float8_e4m3fn_block3d");
  CHECK(format_of_scale(Dtype::kF8E5M2, weight, {}) == "float8_e5m2");
}

}  // namespace ctq::quantized
