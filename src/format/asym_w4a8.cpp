// asym_w4a8_int8: 16 fixed levels of the rotated weight in runs of 16 columns, decoded to int8 by E4M3
// scales, with a scale per row.
#include <algorithm>
#include <iterator>

#include <ATen/ATen.h>

#include "ctq/base/error.h"
#include "packing.h"

namespace ctq::format {
namespace {

constexpr bool kEvenIsHigh = false;  // of the two columns in a byte
constexpr int64_t kLevels = std::size(linalg::kLevels16);
constexpr double kMaxInt8 = 127;
constexpr double kFloor = 1e-8;  // of scales
constexpr int kRefits = 2;
constexpr int64_t kRowsAtOnce = 512;

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

/// u / factor, 0 where that is not positive.
at::Tensor scaled(const at::Tensor& u, const at::Tensor& factor) {
  return at::where(factor > 0, u / factor, 0);
}

/// Scale of every run by least squares, in turn with the nearest levels.
at::Tensor fitted_scales(const Grid& grid, const at::Tensor& runs, at::Tensor& levels) {
  const at::Tensor largest = runs.abs().amax(2, /*keepdim=*/true).clamp_min_(kFloor);
  const at::Tensor u = runs / largest;
  at::Tensor factor = at::ones_like(largest);
  levels = grid.nearest(u);
  for (int i = 0; i < kRefits; ++i) {
    const at::Tensor square = levels.square().sum(2, /*keepdim=*/true);
    factor = (u * levels).sum(2, /*keepdim=*/true).div_(square);
    levels = grid.nearest(scaled(u, factor));
  }
  return (factor * largest).clamp_min_(kFloor);
}

/// The codes whose integers are nearest to `runs` in units of the row's scale; of equal ones the lowest.
at::Tensor nearest_codes(const Grid& grid, const at::Tensor& runs, const at::Tensor& relative_scale) {
  const at::Tensor levels = grid.values(at::arange(kLevels, runs.options().dtype(at::kByte)));
  at::Tensor least = at::full_like(runs, kMaxInt8 * 1e6),
             codes = at::zeros_like(runs, runs.options().dtype(at::kByte));
  for (int64_t c = 0; c < kLevels; ++c) {
    const at::Tensor distance = (runs - integers(levels[c], relative_scale)).abs();
    codes.masked_fill_(distance < least, c);
    least = at::minimum(least, distance);
  }
  return codes;
}

/// Some rows of quantize().
void encode_rows(const at::Tensor& weight, const Encoded& rows) {
  const Grid& grid = rows.codec->grid();
  const at::Tensor runs = by_runs(weight.to(at::kFloat), rows.codec->group);
  at::Tensor levels;
  const at::Tensor scale = fitted_scales(grid, runs, levels);
  const at::Tensor channel =
      (levels * scale).abs().amax({1, 2}, /*keepdim=*/true).div_(kMaxInt8).clamp_min_(kFloor);
  const at::Tensor relative_scale =
      (scale / channel).clamp_max_(rows.codec->largest_inner_scale).to(at::kFloat8_e4m3fn).to(at::kFloat);
  rows.codes.copy_(nearest_codes(grid, runs / channel, relative_scale).reshape(weight.sizes()));
  rows.scales.copy_((relative_scale * channel).squeeze(2));
  rows.outer_scale.copy_(channel.squeeze(2));
}

void quantize(const at::Tensor& weight, Encoded& encoded) {
  const int64_t rows = weight.size(0), columns = weight.size(1);
  const auto options = weight.options().dtype(at::kFloat);
  encoded.codes = at::empty({rows, columns}, options.dtype(at::kByte));
  encoded.scales = at::empty({rows, columns / encoded.codec->group}, options);
  encoded.outer_scale = at::empty({rows, 1}, options);
  for (int64_t row = 0; row < rows; row += kRowsAtOnce) {
    const int64_t count = std::min(kRowsAtOnce, rows - row);
    encode_rows(weight.narrow(0, row, count), rows_of(encoded, row, count));
  }
}

at::Tensor dequantize(const Encoded& encoded) {
  const at::Tensor levels = by_runs(encoded.codec->grid().values(encoded.codes), encoded.codec->group);
  const at::Tensor whole = integers(levels, relative(encoded).to(at::kFloat).unsqueeze(2));
  return whole.reshape(encoded.codes.sizes()).mul_(encoded.outer_scale);
}

}  // namespace

const Packing kAsymW4a8 = {stored, to_file, from_file, quantize, dequantize};

}  // namespace ctq::format
