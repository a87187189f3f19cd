#include "format_rules.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/round_up.h"

namespace ctq::verify {
namespace {

using safetensors::Dtype;
using Shapes = std::vector<Shape>;

Shapes plain(const Dims& d) { return {{d.n, d.k}}; }
Shapes halved(const Dims& d) { return {{d.n, d.k / 2}}; }
Shapes four_or_six_bits(const Dims& d) { return {{d.n, d.k / 2}, {d.n, d.k * 3 / 4}}; }
Shapes padded_fp4(const Dims& d) { return {{round_up(d.n, 16), round_up(d.k, 16) / 2}}; }
Shapes padded_fp8(const Dims& d) { return {{round_up(d.n, 32), round_up(d.k, 32)}}; }

Shapes one(const Dims&) { return {{}, {1}}; }
Shapes one_or_column(const Dims& d) { return {{d.n, 1}, {}, {1}}; }
Shapes one_or_rows(const Dims& d) { return {{d.n, 1}, {d.n}}; }
Shapes rows(const Dims& d) { return {{d.n}}; }
Shapes rows_or_column(const Dims& d) { return {{d.n}, {d.n, 1}}; }
Shapes columns(const Dims& d) { return {{d.k}}; }
Shapes levels(const Dims&) { return {{16}}; }
Shapes row_groups(const Dims& d) { return {{d.n, d.k / d.group}}; }
Shapes group_rows(const Dims& d) { return {{d.k / d.group, d.n}}; }
/// Scales of blocks of 16 or 32 columns, swizzled: whole tiles of 128 rows and 4 blocks.
Shapes swizzled_16(const Dims& d) { return {{round_up(d.n, 128), round_up(round_up(d.k, 16) / 16, 4)}}; }
Shapes swizzled_32(const Dims& d) { return {{round_up(d.n, 128), round_up(round_up(d.k, 32) / 32, 4)}}; }

constexpr FormatRule kFormats[] = {
    {"float8_e4m3fn", Dtype::kF8E4M3, plain, 0},
    {"float8_e5m2", Dtype::kF8E5M2, plain, 0},
    {"nvfp4", Dtype::kU8, padded_fp4, 0},
    {"mxfp8", Dtype::kF8E4M3, padded_fp8, 0},
    {"int8_tensorwise", Dtype::kI8, plain, 0},
    {"convrot_w4a4", Dtype::kI8, halved, 0},
    {"asym_w4a8_int8", Dtype::kI8, four_or_six_bits, 16},
    {"awq_w4a16", Dtype::kI8, halved, 64},
    {"int8_blockwise", Dtype::kI8, plain, 0},
    {"int8_axiswise", Dtype::kI8, plain, 0},
    {"int8_rowwise", Dtype::kI8, plain, 0},
    {"float8_e4m3fn_rowwise", Dtype::kF8E4M3, plain, 0},
    {"float8_e4m3fn_blockwise", Dtype::kF8E4M3, plain, 0},
    {"float8_e4m3fn_block3d", Dtype::kF8E4M3, plain, 0},
    {"hybrid_mxfp8", Dtype::kF8E4M3, padded_fp8, 0},
    {"int8_quip_hadamard", Dtype::kI8, plain, 0},
};

constexpr bool kRequired = true, kPositive = true;

constexpr SideRule kSides[] = {
    {"float8_e4m3fn", "weight_scale", one, Types::kF32, kRequired, kPositive},
    {"float8_e4m3fn", "input_scale", one, Types::kF32, !kRequired, kPositive},
    {"float8_e5m2", "weight_scale", one, Types::kF32, kRequired, kPositive},
    {"float8_e5m2", "input_scale", one, Types::kF32, !kRequired, kPositive},
    {"nvfp4", "weight_scale_2", one, Types::kF32, kRequired, kPositive},
    {"nvfp4", "weight_scale", swizzled_16, Types::kU8OrE4M3, kRequired, kPositive},
    {"nvfp4", "input_scale", one, Types::kF32, !kRequired, kPositive},
    {"nvfp4", "pre_quant_scale", columns, Types::kFloat, !kRequired, !kPositive},
    {"mxfp8", "weight_scale", swizzled_32, Types::kU8, kRequired, !kPositive},
    {"hybrid_mxfp8", "weight_scale", swizzled_32, Types::kU8, kRequired, !kPositive},
    {"hybrid_mxfp8", "weight_scalar", one, Types::kF32, kRequired, kPositive},
    {"int8_tensorwise", "weight_scale", one_or_column, Types::kF32, kRequired, kPositive},
    {"int8_axiswise", "weight_scale", one_or_rows, Types::kF32, kRequired, kPositive},
    {"int8_rowwise", "weight_scale", one_or_rows, Types::kF32, kRequired, kPositive},
    {"int8_quip_hadamard", "weight_scale", one_or_column, Types::kF32, kRequired, kPositive},
    {"convrot_w4a4", "weight_scale", rows_or_column, Types::kF32, kRequired, kPositive},
    {"asym_w4a8_int8", "weight_s_rel", row_groups, Types::kU8OrE4M3, kRequired, kPositive},
    {"asym_w4a8_int8", "weight_s_channel", rows, Types::kF32, kRequired, kPositive},
    {"asym_w4a8_int8", "weight_codebook", levels, Types::kF32, !kRequired, !kPositive},
    {"awq_w4a16", "weight_scale", group_rows, Types::kFloat, kRequired, kPositive},
    {"awq_w4a16", "weight_zeros", group_rows, Types::kFloat, kRequired, !kPositive},
    {"int8_blockwise", "weight_scale", nullptr, Types::kF32, kRequired, kPositive},
    {"float8_e4m3fn_rowwise", "weight_scale", nullptr, Types::kF32, kRequired, kPositive},
    {"float8_e4m3fn_blockwise", "weight_scale", nullptr, Types::kF32, kRequired, kPositive},
    {"float8_e4m3fn_block3d", "weight_scale", nullptr, Types::kF32, kRequired, kPositive},
};

}  // namespace

const FormatRule* find_format_rule(std::string_view format) {
  const auto* found = std::ranges::find(kFormats, format, &FormatRule::format);
  return found == std::end(kFormats) ? nullptr : found;
}

std::vector<SideRule> side_rules(std::string_view format) {
  std::vector<SideRule> rules;
  std::ranges::copy_if(kSides, std::back_inserter(rules),
                       [&](const SideRule& rule) { return rule.format == format; });
  return rules;
}

bool is_of(Dtype dtype, Types types) {
  switch (types) {
    case Types::kF32: return dtype == Dtype::kF32;
    case Types::kFloat: return safetensors::is_float(dtype);
    case Types::kU8: return dtype == Dtype::kU8;
    case Types::kU8OrE4M3: return dtype == Dtype::kU8 || dtype == Dtype::kF8E4M3;
  }
  return false;
}

std::string_view types_text(Types types) {
  constexpr std::array<std::string_view, 4> kTexts = {"F32", "a float type", "U8", "U8 or F8_E4M3"};
  return kTexts.at(static_cast<size_t>(types));
}

int64_t next_power_of_two(int64_t size) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(size, 1))));
}

bool is_power_of_four(int64_t value) {
  const auto bits = static_cast<uint64_t>(std::max<int64_t>(value, 0));
  return value >= 4 && std::has_single_bit(bits) && std::countr_zero(bits) % 2 == 0;
}

}  // namespace ctq::verify
