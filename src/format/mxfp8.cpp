// mxfp8: float8_e4m3fn in runs of 32 columns that share a power of two.
#include <bit>
#include <cmath>
#include <cstdint>

#include <ATen/ATen.h>

#include "base/round_up.h"
#include "format/swizzle.h"
#include "formats.h"
#include "packing.h"
#include "scaling.h"

namespace ctq::format {
namespace {

// An E8M0 byte E is 2^(E - 127), which float32 holds in its exponent; 0 is what a run of zeros has.
constexpr int kExponentShift = 23;

std::vector<StoredTensor> stored(const Codec& codec, int64_t out_features, int64_t in_features, int64_t) {
  const int64_t rows = round_up(out_features, codec.pad), columns = round_up(in_features, codec.pad);
  // ComfyUI reads no file with the element type F8_E8M0.
  return {{"weight", at::kFloat8_e4m3fn, {rows, columns}},
          {"weight_scale", at::kByte, {swizzled_rows(rows), swizzled_columns(columns / codec.group)}}};
}

std::vector<at::Tensor> to_file(const Encoded& encoded) {
  const int64_t pad = encoded.codec->pad;
  const at::Tensor& codes = encoded.codes;
  const at::Tensor bytes = codes.view(at::kByte);
  const at::Tensor exponents =
      encoded.scales.contiguous().view(at::kInt).bitwise_right_shift(kExponentShift).to(at::kByte);
  return {padded(bytes, round_up(codes.size(0), pad), round_up(codes.size(1), pad)).view(codes.scalar_type()),
          swizzle(exponents)};
}

void from_file(const std::vector<at::Tensor>& tensors, int64_t out_features, int64_t in_features,
               Encoded& encoded) {
  const int64_t groups = (in_features + encoded.codec->group - 1) / encoded.codec->group;
  encoded.codes = tensors[0].narrow(0, 0, out_features).narrow(1, 0, in_features).contiguous();
  encoded.scales = unswizzle(tensors[1], out_features, groups)
                       .to(at::kInt)
                       .bitwise_left_shift(kExponentShift)
                       .view(at::kFloat);
}

std::vector<StoredTensor> stored_with_scalar(const Codec& codec, int64_t out_features, int64_t in_features,
                                             int64_t block_size) {
  std::vector<StoredTensor> tensors = stored(codec, out_features, in_features, block_size);
  tensors.push_back({"weight_scalar", at::kFloat, {}});
  return tensors;
}

/// With the largest scale of all, for readers that quantize a layer's input as FP8. 1 for a zero weight.
std::vector<at::Tensor> to_file_with_scalar(const Encoded& encoded) {
  std::vector<at::Tensor> tensors = to_file(encoded);
  const at::Tensor largest =
      encoded.scales.numel() > 0 ? encoded.scales.max() : at::zeros({}, encoded.scales.options());
  tensors.push_back(at::where(largest > 0, largest, 1.0f));
  return tensors;
}

/// The least power of two with which no value of the group saturates. 0 for a group of zeros, and for amax so
/// small that it would be 2^-127, which the reference decoder takes for 0.
linalg::TileScale absmax(float amax, float) {
  constexpr uint32_t kMantissa = 0x7FFFFF;
  const float ratio = amax / kMaxE4M3;
  if (ratio <= 0x1p-127f) return {.decode = 0, .factor = 0};
  const auto bits = std::bit_cast<uint32_t>(ratio);
  const auto exponent = static_cast<int>((bits >> kExponentShift) + ((bits & kMantissa) != 0 ? 1 : 0)) - 127;
  return {.decode = std::ldexp(1.0f, exponent), .factor = std::ldexp(1.0f, -exponent)};
}

constexpr Packing kPacking = {stored, to_file, from_file};
constexpr Packing kWithScalar = {stored_with_scalar, to_file_with_scalar, from_file};

}  // namespace

constinit const Codec kMxfp8 = {.format = "mxfp8",
                                .type = "mxfp8",
                                .granularity = Granularity::kGroup,
                                .scale_shape = ScaleShape::kGroups,
                                .grid = e4m3_grid,
                                .divide = false,
                                .absmax = absmax,
                                .packing = &kPacking,
                                .scale_type = ScaleType::kE8M0,
                                .group = 32,
                                .pad = 32,
                                .reads_input_scale = false};
constinit const Codec kHybridMxfp8 = {.format = "hybrid_mxfp8",
                                      .type = "hybrid_mxfp8",
                                      .granularity = Granularity::kGroup,
                                      .scale_shape = ScaleShape::kGroups,
                                      .grid = e4m3_grid,
                                      .divide = false,
                                      .absmax = absmax,
                                      .packing = &kWithScalar,
                                      .scale_type = ScaleType::kE8M0,
                                      .group = 32,
                                      .pad = 32};

}  // namespace ctq::format
