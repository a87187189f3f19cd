#include "plan/target.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace ctq::plan {
namespace {

using format::Granularity;

constexpr std::array<std::string_view, 6> kScalingModes = {"block", "axis",    "tensor",
                                                           "row",   "block2d", "block3d"};

struct PlainType {
  std::string_view word;
  safetensors::Dtype type;
};
constexpr std::array kPlainTypes{PlainType{"float8_e4m3fn without scale", safetensors::Dtype::kF8E4M3},
                                 PlainType{"float8_e5m2 without scale", safetensors::Dtype::kF8E5M2},
                                 PlainType{"float16", safetensors::Dtype::kF16},
                                 PlainType{"bfloat16", safetensors::Dtype::kBF16},
                                 PlainType{"float32", safetensors::Dtype::kF32}};

Granularity granularity_of(std::string_view scaling_mode) {
  if (scaling_mode == "block" || scaling_mode == "block2d") return Granularity::kBlock;
  if (scaling_mode == "block3d") return Granularity::kBlock3d;
  if (scaling_mode == "tensor") return Granularity::kTensor;
  return Granularity::kRow;
}

/// Of INT8's two formats with a scale per row, `axis` is one and `row` the other; FP8 has one for both words.
bool agrees(const format::Codec& codec, std::string_view scaling_mode) {
  if (codec.granularity != granularity_of(scaling_mode)) return false;
  if (codec.granularity != Granularity::kRow || codec.type != "int8") return true;
  return (scaling_mode == "axis") == (codec.format == "int8_axiswise");
}

bool has_four_bits(const format::Codec& codec) { return codec.grid().code() >= linalg::Code::kE2M1; }

}  // namespace

std::string Target::label() const {
  if (!codec) return std::string(std::ranges::find(kPlainTypes, plain, &PlainType::type)->word);
  if (rotation_group > 0)
    return fmt::format("{} ({}, convrot {}{})", codec->format, granularity_name(codec->granularity),
                       rotation_group, linear_dtype == format::LinearDtype::kInt8 ? ", linear int8" : "");
  return block_size > 0
             ? fmt::format("{} ({} {})", codec->format, granularity_name(codec->granularity), block_size)
             : codec->label();
}

std::vector<Target> formats_from(const Target& target) {
  std::vector<Target> formats = {target};
  Target larger;
  larger.optimizer = target.optimizer;
  larger.num_iter = target.num_iter;
  if (target.codec->type == "nvfp4") {
    larger.codec = format::find_codec("float8_e4m3fn", Granularity::kTensor);
    formats.push_back(larger);
  } else if (has_four_bits(*target.codec)) {
    larger.codec = format::find_codec("int8_tensorwise", Granularity::kRow);
    if (target.codec->rotation != format::Rotation::kNever) larger.rotation_group = kUsualRotation;
    formats.push_back(larger);
  }
  return formats;
}

const format::Codec* codec_of_type(std::string_view type, std::string_view scaling_mode) {
  if (type == "nvfp4" || type == "mxfp8")
    return scaling_mode.empty() ? format::find_codec(type, Granularity::kGroup) : nullptr;
  const bool int8 = type == "int8";
  if (scaling_mode.empty()) scaling_mode = int8 ? "block" : "tensor";
  switch (granularity_of(scaling_mode)) {
    case Granularity::kTensor:
      return format::find_codec(int8 ? "int8_tensorwise" : "float8_e4m3fn", Granularity::kTensor);
    case Granularity::kBlock:
      return format::find_codec(int8 ? "int8_blockwise" : "float8_e4m3fn_blockwise", Granularity::kBlock);
    case Granularity::kBlock3d:
      return int8 ? nullptr : format::find_codec("float8_e4m3fn_block3d", Granularity::kBlock3d);
    case Granularity::kRow:
    case Granularity::kGroup: break;
  }
  if (!int8) return format::find_codec("float8_e4m3fn_rowwise", Granularity::kRow);
  return format::find_codec(scaling_mode == "axis" ? "int8_axiswise" : "int8_tensorwise", Granularity::kRow);
}

const format::Codec* codec_of_format(std::string_view format, std::string_view scaling_mode) {
  const format::Codec* found = nullptr;
  for (const format::Codec& codec : format::registry()) {
    if (codec.format != format || (!scaling_mode.empty() && !agrees(codec, scaling_mode))) continue;
    if (!found || codec.granularity == Granularity::kRow) found = &codec;
  }
  return found;
}

bool is_rotation_group(int64_t group) {
  constexpr int64_t kLargest = 4096;
  for (int64_t known = kSmallestRotation; known <= kLargest; known *= 4) {
    if (known == group) return true;
  }
  return false;
}

bool takes_rotation(const format::Codec& codec) { return codec.rotation != format::Rotation::kNever; }

bool takes_linear_dtype(const format::Codec& codec) { return codec.format == "convrot_w4a4"; }

int64_t rotation_group_for(const Target& target, int64_t in_features) {
  const bool always = target.codec && target.codec->rotation == format::Rotation::kAlways;
  const int64_t group = always && target.rotation_group == 0 ? kUsualRotation : target.rotation_group;
  if (group == 0) return 0;
  int64_t found = in_features % group == 0 ? group : 0;
  if (target.dynamic_rotation) {
    for (int64_t larger = 4 * group; larger <= in_features; larger *= 4) {
      if (in_features % larger == 0) found = larger;
    }
  }
  for (int64_t smaller = group; always && found == 0 && smaller >= kSmallestRotation; smaller /= 4) {
    if (in_features % smaller == 0) found = smaller;
  }
  constexpr int64_t kSmaller = 64;
  if (found == 0 && group == kUsualRotation && in_features % kSmaller == 0) return kSmaller;
  return found;
}

std::optional<safetensors::Dtype> plain_type(std::string_view word) {
  const auto* const found = std::ranges::find(kPlainTypes, word, &PlainType::word);
  return found == kPlainTypes.end() ? std::nullopt : std::optional(found->type);
}

bool is_scaling_mode(std::string_view word) { return std::ranges::count(kScalingModes, word) > 0; }

}  // namespace ctq::plan
