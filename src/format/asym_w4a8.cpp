// asym_w4a8_int8: 16 fixed levels of the rotated weight in runs of 16 columns, decoded to int8 by E4M3
// scales, with a scale per row.
#include <iterator>

#include <ATen/ATen.h>

#include "base/error.h"
#include "formats.h"
#include "packing.h"

namespace ctq::format {
namespace {

constexpr bool kEvenIsHigh = false;  // of the two columns in a byte
constexpr int64_t kLevels = std::size(linalg::kLevels16);
constexpr double kMaxInt8 = 127;
constexpr double kFloor = 1e-8;  // of scales
constexpr int kRefits = 2;

at::Tensor by_runs(const at::Tensor& matrix, int64_t run) {
  return matrix.reshape({matrix.size(0), matrix.size(1) / run, run});
}

/// Scales of runs as multiples of the row's, which are E4M3 numbers.
at::Tensor relative(const Encoded& encoded) {
  return encoded.scales.div(encoded.outer_scale).to(at::kFloat8_e4m3fn);
}

/// The integer that a level becomes.
at::Tensor integers(const at::Tensor& levels, const at::Tensor& relative_scale) {
  return (levels * relative_scale).round_().clamp_(-kMaxInt8, kMaxInt8);
}

std::vector<StoredTensor> stored(const Codec& codec, int64_t out_features, int64_t in_features, int64_t) {
  return {{"weight", at::kChar, {out_features, in_features / 2}},
          {"weight_s_rel", at::kByte, {out_features, in_features / codec.group}},
          {"weight_s_channel", at::kFloat, {out_features}},
          {"weight_codebook", at::kFloat, {kLevels}}};
}

std::vector<at::Tensor> to_file(const Encoded& encoded) {
  const at::Tensor codebook = encoded.codec->grid().values(at::arange(kLevels, encoded.codes.options()));
  return {linalg::pack_nibbles(encoded.codes.contiguous(), kEvenIsHigh).view(at::kChar),
          relative(encoded).view(at::kByte).contiguous(), encoded.outer_scale.reshape({-1}).contiguous(),
          codebook};
}

void from_file(const std::vector<at::Tensor>& tensors, int64_t, int64_t, Encoded& encoded) {
  const at::Tensor known =
      encoded.codec->grid().values(at::arange(kLevels, at::device(tensors[3].device()).dtype(at::kByte)));
  if (!at::equal(tensors[3], known))
    fail(ErrorCode::kBadInput, "weight_codebook has other levels than the one of {} that this version knows",
         encoded.codec->format);
  encoded.codes = linalg::unpack_nibbles(tensors[0].view(at::kByte), kEvenIsHigh);
  encoded.outer_scale = tensors[2].reshape({-1, 1});
  encoded.scales = tensors[1].view(at::kFloat8_e4m3fn).to(at::kFloat).mul_(encoded.outer_scale);
}

/// Nearest levels of the weight in units of the scales of its runs, as codes. scale: [rows, runs]
at::Tensor nearest_levels(const Codec& codec, const at::Tensor& weight, const at::Tensor& scale) {
  return linalg::encode_tiles(weight, {.rows = 1, .cols = codec.group}, codec.grid().code(), /*divide=*/true,
                              scale);
}

/// What codes stand for, by runs.
at::Tensor levels_of(const Codec& codec, const at::Tensor& codes) {
  return by_runs(codec.grid().values(codes), codec.group);
}

/// The scale of every run [rows, runs] by least squares, in turn with the nearest levels, which come as
/// `codes`.
at::Tensor fitted_scales(const Codec& codec, const at::Tensor& weight, at::Tensor& codes) {
  const at::Tensor runs = by_runs(weight, codec.group);
  const at::Tensor largest = runs.abs().amax(2).clamp_min_(kFloor);
  const at::Tensor u = runs / largest.unsqueeze(2);  // no square of it overflows
  at::Tensor scale = largest;
  codes = nearest_levels(codec, weight, scale);
  for (int i = 0; i < kRefits; ++i) {
    const at::Tensor levels = levels_of(codec, codes);
    scale = (u * levels).sum(2).div_(levels.square().sum(2)).mul_(largest).clamp_min_(kFloor);
    codes = nearest_levels(codec, weight, scale);
  }
  return scale;
}

/// The codes whose integers are nearest to the weight in units of the row's scale. They are next to the
/// nearest level: integers increase with levels, and are no further than 1/2 from them. Of equal ones the
/// lower code.
at::Tensor nearest_codes(const Encoded& rows, const at::Tensor& weight) {
  const Codec& codec = *rows.codec;
  const at::Tensor runs = by_runs(weight / rows.outer_scale, codec.group);
  const at::Tensor inner = relative(rows).to(at::kFloat).unsqueeze(2);
  const at::Tensor start = nearest_levels(codec, weight, rows.scales);
  at::Tensor codes, least;
  for (const int step : {-1, 0, 1}) {
    const at::Tensor tried = start.to(at::kInt).add_(step).clamp_(0, kLevels - 1).to(at::kByte);
    const at::Tensor distance =
        integers(levels_of(codec, tried), inner).sub_(runs).abs_().reshape(tried.sizes());
    codes = least.defined() ? at::where(distance < least, tried, codes) : tried;
    least = least.defined() ? at::minimum(least, distance) : distance;
  }
  return codes;
}

/// Some rows of quantize(), written to `rows`.
void quantize_rows(const at::Tensor& weight, Encoded rows) {
  const Codec& codec = *rows.codec;
  at::Tensor codes;
  const at::Tensor scale = fitted_scales(codec, weight, codes);
  const at::Tensor largest = (levels_of(codec, codes) * scale.unsqueeze(2)).abs_().amax({1, 2});
  rows.outer_scale.copy_(largest.div_(kMaxInt8).clamp_min_(kFloor).unsqueeze(1));
  rows.scales.copy_(storable_scales(codec, scale, rows.outer_scale));
  rows.codes.copy_(nearest_codes(rows, weight));
}

void quantize(const at::Tensor& weight, Encoded& encoded) {
  const int64_t rows = weight.size(0), columns = weight.size(1);
  const auto options = weight.options().dtype(at::kFloat);
  encoded.codes = at::empty({rows, columns}, options.dtype(at::kByte));
  encoded.scales = at::empty({rows, columns / encoded.codec->group}, options);
  encoded.outer_scale = at::empty({rows, 1}, options);
  for_some_rows(weight, [&](int64_t row, int64_t count) {
    quantize_rows(weight.narrow(0, row, count).to(at::kFloat), rows_of(encoded, row, count));
  });
}

at::Tensor dequantize(const Encoded& encoded) {
  const at::Tensor levels = levels_of(*encoded.codec, encoded.codes.contiguous());
  const at::Tensor whole = integers(levels, relative(encoded).to(at::kFloat).unsqueeze(2));
  return whole.reshape(encoded.codes.sizes()).mul_(encoded.outer_scale);
}

constexpr Packing kPacking = {stored, to_file, from_file, quantize, dequantize};

}  // namespace

constinit const Codec kAsymW4a8 = {
    .format = "asym_w4a8_int8",
    .type = "w4a8",
    .granularity = Granularity::kGroup,
    .scale_shape = ScaleShape::kGroups,
    .grid = level16_grid,
    .divide = true,
    .absmax = nullptr,
    .packing = &kPacking,
    .scale_type = ScaleType::kE4M3,
    .largest_inner_scale = 128,  // 127 is the largest integer that a level becomes
    .group = 16,
    .rotation = Rotation::kAlways,
    .width_multiple = 16,
    .reads_input_scale = false};

}  // namespace ctq::format
