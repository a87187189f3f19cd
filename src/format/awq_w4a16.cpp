// awq_w4a16: integers from -8 to 7 in runs of 64 columns, each with a scale and an offset in bfloat16.
#include <ATen/ATen.h>

#include "formats.h"
#include "packing.h"

namespace ctq::format {
namespace {

constexpr bool kEvenIsHigh = false;  // of the two columns in a byte
constexpr int kFirstCode = -8;       // what is stored as 0

at::Tensor in_bfloat16(const at::Tensor& x) { return x.to(at::kBFloat16).to(at::kFloat); }

at::Tensor by_runs(const at::Tensor& matrix, int64_t run) {
  return matrix.reshape({matrix.size(0), matrix.size(1) / run, run});
}

std::vector<StoredTensor> stored(const Codec& codec, int64_t out_features, int64_t in_features, int64_t) {
  const int64_t runs = in_features / codec.group;
  return {{"weight", at::kChar, {out_features, in_features / 2}},
          {"weight_scale", at::kBFloat16, {runs, out_features}},
          {"weight_zeros", at::kBFloat16, {runs, out_features}}};
}

std::vector<at::Tensor> to_file(const Encoded& encoded) {
  const auto turned = [](const at::Tensor& x) { return x.t().to(at::kBFloat16).contiguous(); };
  return {linalg::pack_nibbles(encoded.codes.sub(kFirstCode).contiguous(), kEvenIsHigh),
          turned(encoded.scales), turned(encoded.zeros)};
}

void from_file(const std::vector<at::Tensor>& tensors, int64_t, int64_t, Encoded& encoded) {
  const auto turned = [](const at::Tensor& x) { return x.t().to(at::kFloat).contiguous(); };
  encoded.codes =
      linalg::unpack_nibbles(tensors[0].view(at::kByte), kEvenIsHigh).view(at::kChar).add(kFirstCode);
  encoded.scales = turned(tensors[1]);
  encoded.zeros = turned(tensors[2]);
}

/// Some rows of quantize(), written to `rows`.
void quantize_rows(const at::Tensor& weight, Encoded rows) {
  const at::Tensor runs = by_runs(weight.to(at::kFloat), rows.codec->group);
  const at::Tensor least = runs.amin(2), largest = runs.amax(2), spread = largest / 15 - least / 15;
  const at::Tensor scale = in_bfloat16(at::where(spread > 0, spread, 1));
  const at::Tensor usable = (scale > 0).logical_and(scale.isfinite());
  rows.scales.copy_(at::where(usable, scale, 1));
  rows.zeros.copy_(in_bfloat16(at::where(spread > 0, least + 8 * rows.scales, least)));
  rows.codes.copy_((runs - rows.zeros.unsqueeze(2))
                       .div_(rows.scales.unsqueeze(2))
                       .round_()
                       .clamp_(kFirstCode, -kFirstCode - 1)
                       .reshape(weight.sizes()));
}

/// The least value of a run becomes -8, the largest 7. A run of one value is its offset, with the scale 1.
void quantize(const at::Tensor& weight, Encoded& encoded) {
  const int64_t rows = weight.size(0), columns = weight.size(1);
  const auto options = weight.options().dtype(at::kFloat);
  encoded.codes = at::empty({rows, columns}, options.dtype(at::kChar));
  encoded.scales = at::empty({rows, columns / encoded.codec->group}, options);
  encoded.zeros = at::empty_like(encoded.scales);
  for_some_rows(weight, [&](int64_t row, int64_t count) {
    quantize_rows(weight.narrow(0, row, count), rows_of(encoded, row, count));
  });
}

/// Product and sum are rounded to bfloat16, as readers do that compute in it.
at::Tensor dequantize(const Encoded& encoded) {
  const at::Tensor codes = by_runs(encoded.codes.to(at::kFloat), encoded.codec->group);
  return in_bfloat16(in_bfloat16(codes * encoded.scales.unsqueeze(2)) + encoded.zeros.unsqueeze(2))
      .reshape(encoded.codes.sizes());
}

constexpr Packing kPacking = {stored, to_file, from_file, quantize, dequantize};

}  // namespace

constinit const Codec kAwqW4a16 = {.format = "awq_w4a16",
                                   .type = "w4a16",
                                   .granularity = Granularity::kGroup,
                                   .scale_shape = ScaleShape::kGroups,
                                   .grid = nibble_grid,
                                   .divide = true,
                                   .absmax = nullptr,
                                   .packing = &kPacking,
                                   .scale_type = ScaleType::kBFloat16,
                                   .group = 64,
                                   .width_multiple = 64,
                                   .reads_input_scale = false};

}  // namespace ctq::format
