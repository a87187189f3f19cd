#include "client/loader.h"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "format/codec.h"
#include "format/log_scale.h"
#include "support/matchers.h"

namespace ctq::client {
namespace {

using families::Parts;
using test::HasCode;

Parts parts_of(std::vector<std::string> names) {
  std::ranges::sort(names);
  return Parts(names);
}

Obstacle reads(const Parts& parts, std::string_view client, std::string_view layer,
               std::vector<int64_t> shape, std::string_view format, Scales scales = Scales::kOther) {
  const Client parsed = parse_client(client);
  return Loader(parsed, parts).reads(layer, shape, format, scales);
}

TEST_CASE("clients: words and versions", "[client]") {
  CHECK(parse_client("comfyui") == Client{});
  CHECK(parse_client("comfyui@0.29").version == Version{0, 29, 0});
  CHECK(parse_client("comfyui@v0.3.64").version == Version{0, 3, 64});
  CHECK(parse_client("comfyui@0.29").word() == "comfyui@0.29");
  CHECK(parse_client("sd.cpp").name() == "stable-diffusion.cpp");
  CHECK_THROWS_MATCHES(parse_client("comfy"), Error, HasCode(ErrorCode::kUsage, "'comfy'", "comfyui"));
  CHECK_THROWS_MATCHES(parse_client("comfyui@new"), Error, HasCode(ErrorCode::kUsage, "'new'"));
  CHECK_THROWS_MATCHES(parse_client("comfyui@"), Error, HasCode(ErrorCode::kUsage, "no version"));
  CHECK_THROWS_MATCHES(parse_client("any@1.0"), Error, HasCode(ErrorCode::kUsage, "not told apart"));
}

TEST_CASE("clients: formats by version", "[client]") {
  const auto knows = [](std::string_view client, std::string_view format, Scales scales = Scales::kOther) {
    return format_obstacle(parse_client(client), format, scales).empty();
  };
  CHECK(knows("comfyui", "asym_w4a8_int8"));
  CHECK_FALSE(knows("comfyui@0.29", "asym_w4a8_int8"));
  CHECK(knows("comfyui@0.29", "convrot_w4a4"));
  CHECK_FALSE(knows("comfyui@0.26", "int8_tensorwise"));
  CHECK_FALSE(knows("comfyui@0.33", "awq_w4a16"));
  CHECK(knows("comfyui", "awq_w4a16"));
  CHECK(knows("custom", "awq_w4a16"));
  CHECK(knows("custom", "int8_blockwise"));
  CHECK_FALSE(knows("comfyui", "int8_blockwise"));
  CHECK_FALSE(knows("custom", "something"));
  CHECK(knows("sd.cpp", "int8_tensorwise", Scales::kRows));
  CHECK_FALSE(knows("sd.cpp", "int8_tensorwise", Scales::kOne));
  CHECK(knows("sd.cpp", "float8_e4m3fn"));
  CHECK_FALSE(knows("sd.cpp", "mxfp8"));
  CHECK(knows("any", "something"));
  CHECK_FALSE(implied_by("nvfp4"));
  CHECK(implied_by("int8_axiswise")->program == Program::kComfyUiNodes);
}

TEST_CASE("clients: factors of a layer's input are read for NVFP4, since ComfyUI 0.31", "[client]") {
  const auto obstacle = [](std::string_view client, std::string_view format = "nvfp4") {
    return input_factor_obstacle(parse_client(client), format);
  };
  for (const char* client : {"comfyui", "comfyui@0.31", "custom", "any"}) CHECK(obstacle(client).empty());
  CHECK(obstacle("comfyui@0.30") ==
        "ComfyUI 0.30 does not read pre_quant_scale, which 0.31 was the first to read");
  CHECK_FALSE(obstacle("custom@0.30.9").empty());
  CHECK(obstacle("sd.cpp") == "stable-diffusion.cpp does not read pre_quant_scale");
  CHECK_FALSE(obstacle("forge").empty());
  for (const char* format : {"mxfp8", "convrot_w4a4", "float8_e4m3fn"})
    CHECK(obstacle("any", format) ==
          fmt::format("pre_quant_scale is read for nvfp4 alone, not for {}", format));
}

TEST_CASE("clients: of a format that ComfyUI lacks, who reads it, and one of its kind that it reads",
          "[client]") {
  for (const format::Codec& codec : format::registry()) {
    CAPTURE(codec.label());
    const OtherReader other = other_reader(codec.format);
    CHECK(is_stock(codec) == other.name.empty());
    CHECK(is_stock(codec) == other.instead.empty());
    if (!other.instead.empty()) CHECK_FALSE(implied_by(other.instead));
  }
  CHECK_FALSE(is_stock(format::log_scale_codec()));
  CHECK_FALSE(is_stock(format::quip_codec()));
}

TEST_CASE("loader: ComfyUI reads no scales in CLIP and VAE, other programs do", "[client]") {
  const Parts parts =
      parts_of({"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight",
                "first_stage_model.encoder.mid.attn_1.q.weight"});
  const std::vector<int64_t> shape{64, 64};
  CHECK(reads(parts, "comfyui", "first_stage_model.encoder.mid.attn_1.q", shape, "float8_e4m3fn") ==
        Obstacle::kPlainModel);
  CHECK(reads(parts, "sd.cpp", "first_stage_model.encoder.mid.attn_1.q", shape, "float8_e4m3fn") ==
        Obstacle::kNone);
  CHECK(reads(parts, "comfyui", "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q",
              shape, "float8_e4m3fn") == Obstacle::kNone);
}

TEST_CASE("loader: a model that is not known is packed inside its blocks only", "[client]") {
  const Parts parts = parts_of({"stack.0.mix.weight", "stack.1.mix.weight", "entry.weight"});
  CHECK(reads(parts, "comfyui", "stack.0.mix", {64, 64}, "nvfp4") == Obstacle::kNone);
  CHECK(reads(parts, "comfyui", "entry", {64, 64}, "nvfp4") == Obstacle::kOutsideBlocks);
  CHECK(reads(parts, "comfyui", "entry", {64, 64}, "convrot_w4a4") == Obstacle::kOutsideBlocks);
  CHECK(reads(parts, "comfyui", "entry", {64, 64}, "mxfp8") == Obstacle::kNone);  // no padding
  CHECK(reads(parts, "comfyui", "entry", {64, 48}, "mxfp8") == Obstacle::kOutsideBlocks);
  CHECK(reads(parts, "comfyui", "entry", {64, 64}, "float8_e4m3fn") == Obstacle::kNone);
  CHECK(reads(parts, "any", "entry", {64, 64}, "nvfp4") == Obstacle::kNone);
  // Without any block there is nothing to tell by.
  CHECK(reads(parts_of({"a.weight"}), "comfyui", "a", {64, 64}, "nvfp4") == Obstacle::kNone);
}

TEST_CASE("loader: embedding tables are read in FP8 and INT8", "[client]") {
  const Parts parts = parts_of({"layers.0.w.weight", "embed_tokens.weight"});
  CHECK(reads(parts, "comfyui", "embed_tokens", {64, 64}, "float8_e4m3fn") == Obstacle::kNone);
  CHECK(reads(parts, "comfyui", "embed_tokens", {64, 64}, "int8_tensorwise") == Obstacle::kNone);
  CHECK(reads(parts, "comfyui", "embed_tokens", {64, 64}, "mxfp8") == Obstacle::kTable);
  CHECK(reads(parts, "comfyui@0.29", "embed_tokens", {64, 64}, "int8_tensorwise") == Obstacle::kTable);
}

TEST_CASE("loader: ComfyUI reads banks of experts where the model has them, in the formats that pass through",
          "[client]") {
  const std::string bank = "layers.0.mlp.experts.gate_up_proj";
  const Parts parts = parts_of({"layers.0.self_attn.sinks", bank + ".weight", "layers.0.other.weight"});
  const std::vector<int64_t> shape{4, 64, 64};
  for (const char* format :
       {"float8_e4m3fn", "float8_e5m2", "nvfp4", "mxfp8", "int8_tensorwise", "convrot_w4a4"}) {
    CAPTURE(format);
    CHECK(reads(parts, "comfyui", bank, shape, format) == Obstacle::kNone);
    CHECK(reads(parts, "comfyui", "layers.0.other", shape, format) == Obstacle::kNoBank);
    CHECK(reads(parts, "comfyui", bank, {64, 64}, format) == Obstacle::kNone);
  }
  for (const char* format : {"asym_w4a8_int8", "awq_w4a16"})
    CHECK(reads(parts, "comfyui", bank, shape, format) == Obstacle::kBank);
  CHECK(reads(parts, "custom", bank, shape, "int8_blockwise") == Obstacle::kBank);
  CHECK(reads(parts, "custom", bank, shape, "float8_e4m3fn") == Obstacle::kNone);
  CHECK(reads(parts, "comfyui@0.22", bank, shape, "float8_e4m3fn") == Obstacle::kBank);
  CHECK(reads(parts, "comfyui@0.23", bank, shape, "float8_e4m3fn") == Obstacle::kNone);
  CHECK(reads(parts, "forge", bank, shape, "float8_e4m3fn") == Obstacle::kBank);
  CHECK(reads(parts, "sd.cpp", bank, shape, "float8_e4m3fn") == Obstacle::kBank);
  CHECK(reads(parts, "any", bank, shape, "asym_w4a8_int8") == Obstacle::kNone);
  // Of a model that is not known here nothing is said.
  CHECK(reads(parts_of({"a.0.w.weight"}), "comfyui", "a.0.w", shape, "float8_e4m3fn") == Obstacle::kNone);
}

TEST_CASE("loader: a bank in INT8 must not be rotated, W4A4 is", "[client]") {
  const std::string bank = "text.layers.1.mlp.experts.down_proj";
  const Parts parts = parts_of(
      {"text.layers.0.self_attn.sinks", "text.layers.0.mlp.experts.gate_up_proj.weight", bank + ".weight"});
  const Client comfyui, any{.program = Program::kAny};
  const std::vector<int64_t> shape{4, 64, 64};
  const auto rotated = [&](const Client& client, const char* format) {
    return Loader(client, parts).reads(bank, shape, format, Scales::kOther, /*rotation_group=*/64);
  };
  CHECK(rotated(comfyui, "int8_tensorwise") == Obstacle::kRotatedBank);
  CHECK(rotated(comfyui, "convrot_w4a4") == Obstacle::kNone);
  CHECK(rotated(any, "int8_tensorwise") == Obstacle::kNone);
  CHECK(Loader(comfyui, parts)
            .reads(bank, std::vector<int64_t>{64, 64}, "int8_tensorwise", Scales::kOther, 64) ==
        Obstacle::kNone);
}

}  // namespace
}  // namespace ctq::client
