#include "ctq/format/codec.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "ctq/linalg/hadamard.h"

namespace ctq::format {
namespace {

using linalg::TileScale;

constexpr float kMaxInt8 = 127;
constexpr float kMaxE4M3 = 448;
constexpr float kMaxE5M2 = 57344;

/// Per-tensor FP8 as kitchen computes it: the reciprocal is formed once. Where it does not exist (a zero
/// weight, or one below about 1.3e-36) every code is zero.
template <float kMax>
TileScale fp8_tensor(float amax) {
  const float scale = amax / kMax, factor = 1.0f / scale;
  if (!std::isfinite(factor)) return {.decode = 1, .factor = 0};
  return {.decode = scale, .factor = factor};
}

/// FP8 with a scale per row or block: the factor comes first and its reciprocal is stored.
TileScale fp8_fine(float amax) {
  const float factor = kMaxE4M3 / std::max(amax, 1e-12f);  // the floor of the format's readers
  return {.decode = 1.0f / factor, .factor = factor};
}

TileScale int8_floored(float amax, float floor) {
  const float scale = std::max(amax / kMaxInt8, floor);
  return {.decode = scale, .factor = scale};
}
TileScale int8(float amax) { return int8_floored(amax, 1e-30f); }       // kitchen's floor
TileScale int8_block(float amax) { return int8_floored(amax, 1e-8f); }  // QuantOps' floor

constexpr bool kDivide = true, kStock = true;
constexpr std::string_view kQuantOps = "ComfyUI-QuantOps", kWanInt8 = "ComfyUI-Wan-INT8";
constexpr std::string_view kStockFp8 = "--fp8 --scaling_mode tensor",
                           kStockInt8 = "--int8 --scaling_mode row";

using enum Granularity;
using enum ScaleShape;

constexpr Codec kRegistry[] = {
    {"float8_e4m3fn", kTensor, kScalar, e4m3_grid, !kDivide, fp8_tensor<kMaxE4M3>, kStock, "", ""},
    {"float8_e5m2", kTensor, kScalar, e5m2_grid, !kDivide, fp8_tensor<kMaxE5M2>, kStock, "", ""},
    {"float8_e4m3fn_rowwise", kRow, kVector, e4m3_grid, !kDivide, fp8_fine, !kStock, kQuantOps, kStockFp8},
    {"float8_e4m3fn_blockwise", kBlock, kGrid, e4m3_grid, !kDivide, fp8_fine, !kStock, kQuantOps, kStockFp8},
    {"float8_e4m3fn_block3d", kBlock3d, kGrid3d, e4m3_grid, !kDivide, fp8_fine, !kStock, kQuantOps,
     kStockFp8},
    {"int8_tensorwise", kTensor, kScalar, int8_grid, kDivide, int8, kStock, "", ""},
    {"int8_tensorwise", kRow, kColumn, int8_grid, kDivide, int8, kStock, "", ""},
    {"int8_axiswise", kRow, kVector, int8_grid, kDivide, int8, !kStock, kWanInt8, kStockInt8},
    {"int8_blockwise", kBlock, kGrid, int8_grid, kDivide, int8_block, !kStock, kQuantOps, kStockInt8},
};

at::ScalarType code_dtype(const Codec& codec) {
  switch (codec.grid().code()) {
    case linalg::Code::kInt8: return at::kChar;
    case linalg::Code::kE4M3: return at::kFloat8_e4m3fn;
    case linalg::Code::kE5M2: return at::kFloat8_e5m2;
  }
  TORCH_INTERNAL_ASSERT(false);
}

std::vector<int64_t> scale_shape(const Codec& codec, int64_t out_features, int64_t in_features,
                                 int64_t block_size) {
  switch (codec.scale_shape) {
    case kScalar: return {};
    case kColumn: return {out_features, 1};
    case kVector: return {out_features};
    case kGrid: return {out_features / block_size, in_features / block_size};
    case kGrid3d: return {out_features, in_features / block_size, 1};
  }
  TORCH_INTERNAL_ASSERT(false);
}

}  // namespace

std::string_view granularity_name(Granularity granularity) {
  constexpr std::array<std::string_view, 4> kNames = {"tensor", "row", "block", "block3d"};
  return kNames.at(static_cast<size_t>(granularity));
}

std::string Codec::label() const { return fmt::format("{} ({})", format, granularity_name(granularity)); }

std::span<const Codec> registry() { return kRegistry; }

const Codec* find_codec(std::string_view format, Granularity granularity) {
  const auto* found = std::ranges::find_if(kRegistry, [&](const Codec& codec) {
    return codec.format == format && codec.granularity == granularity;
  });
  return found == std::end(kRegistry) ? nullptr : found;
}

linalg::Tiling tiling(const Codec& codec, int64_t out_features, int64_t in_features, int64_t block_size) {
  const int64_t all_rows = std::max<int64_t>(out_features, 1), all_cols = std::max<int64_t>(in_features, 1);
  switch (codec.granularity) {
    case kTensor: return {all_rows, all_cols};
    case kRow: return {1, all_cols};
    case kBlock: return {block_size, block_size};
    case kBlock3d: return {1, block_size};
  }
  TORCH_INTERNAL_ASSERT(false);
}

std::optional<std::string> misfit(const Codec& codec, int64_t out_features, int64_t in_features,
                                  int64_t block_size) {
  if (!codec.has_blocks()) return std::nullopt;
  if (block_size < 1)
    return fmt::format("{} needs a block size of at least 1, not {}", codec.label(), block_size);
  const auto uneven = [&](std::string_view side, int64_t size) {
    return fmt::format("{} {} is not a multiple of block size {}", side, size, block_size);
  };
  if (codec.granularity == kBlock && out_features % block_size != 0)
    return uneven("out_features", out_features);
  if (in_features % block_size != 0) return uneven("in_features", in_features);
  return std::nullopt;
}

std::vector<StoredTensor> stored_tensors(const Codec& codec, int64_t out_features, int64_t in_features,
                                         int64_t block_size) {
  return {{"weight", code_dtype(codec), {out_features, in_features}},
          {"weight_scale", at::kFloat, scale_shape(codec, out_features, in_features, block_size)}};
}

std::optional<Encoded> encode_nearest(const Codec& codec, const at::Tensor& original, int64_t block_size,
                                      int64_t rotation_group) {
  const at::Tensor weight = rotation_group > 0 ? linalg::rotate_columns(original, rotation_group) : original;
  const int64_t n = weight.size(0), k = weight.size(1);
  bool finite = true;
  linalg::TileCodes coded = linalg::quantize_tiles(
      weight, tiling(codec, n, k, block_size), {codec.grid().code(), codec.divide, codec.absmax}, &finite);
  if (!finite) return std::nullopt;
  // A weight without elements has no tile, but a scalar scale all the same.
  if (codec.scale_shape == kScalar && weight.numel() == 0) {
    coded.decode = at::full({1}, codec.absmax(0).decode, coded.decode.options());
  }
  return Encoded{&codec, codec.has_blocks() ? block_size : 0, rotation_group, coded.codes,
                 coded.decode.reshape(scale_shape(codec, n, k, block_size))};
}

at::Tensor decode(const Encoded& encoded) {
  const int64_t n = encoded.codes.size(0), k = encoded.codes.size(1);
  const linalg::Tiling tiles = tiling(*encoded.codec, n, k, encoded.block_size);
  if (encoded.codes.numel() == 0) return at::empty({n, k}, encoded.scales.options().dtype(at::kFloat));
  const at::Tensor decoded = linalg::decode_tiles(
      encoded.codes, tiles, encoded.scales.reshape({tiles.count_down(n), tiles.count_across(k)}));
  return encoded.rotation_group > 0 ? linalg::rotate_columns(decoded, encoded.rotation_group) : decoded;
}

}  // namespace ctq::format
