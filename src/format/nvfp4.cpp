// nvfp4: 4-bit floats in runs of 16 columns, E4M3 scales relative to one of the tensor.
#include <algorithm>
#include <limits>

#include <ATen/ATen.h>
#include <c10/util/Float8_e4m3fn.h>

#include "base/round_up.h"
#include "format/swizzle.h"
#include "formats.h"
#include "packing.h"
#include "scaling.h"

namespace ctq::format {
namespace {

constexpr bool kEvenIsHigh = true;  // of the two columns in a byte
constexpr float kMaxE2M1 = 6;

std::vector<StoredTensor> stored(const Codec& codec, int64_t out_features, int64_t in_features, int64_t) {
  const int64_t rows = round_up(out_features, codec.pad), columns = round_up(in_features, codec.pad);
  return {
      {"weight", at::kByte, {rows, columns / 2}},
      {"weight_scale", at::kFloat8_e4m3fn, {swizzled_rows(rows), swizzled_columns(columns / codec.group)}},
      {"weight_scale_2", at::kFloat, {}}};
}

std::vector<at::Tensor> to_file(const Encoded& encoded) {
  const int64_t pad = encoded.codec->pad;
  const at::Tensor& codes = encoded.codes;
  const at::Tensor whole = padded(codes, round_up(codes.size(0), pad), round_up(codes.size(1), pad));
  const at::Tensor inner = encoded.scales.div(encoded.outer_scale).clamp_max_(kMaxE4M3);
  return {linalg::pack_nibbles(whole, kEvenIsHigh),
          swizzle(inner.to(at::kFloat8_e4m3fn).view(at::kByte)).view(at::kFloat8_e4m3fn),
          encoded.outer_scale};
}

void from_file(const std::vector<at::Tensor>& tensors, int64_t out_features, int64_t in_features,
               Encoded& encoded) {
  const int64_t groups = (in_features + encoded.codec->group - 1) / encoded.codec->group;
  encoded.codes = linalg::unpack_nibbles(tensors[0], kEvenIsHigh)
                      .narrow(0, 0, out_features)
                      .narrow(1, 0, in_features)
                      .contiguous();
  encoded.outer_scale = tensors[2];
  encoded.scales = unswizzle(tensors[1].view(at::kByte), out_features, groups)
                       .view(at::kFloat8_e4m3fn)
                       .to(at::kFloat)
                       .mul_(tensors[2]);
}

/// The scale of a whole weight, by which its groups' scales are E4M3 numbers: the largest product of a code
/// and such a number, 6 * 448, is its largest magnitude. 1 for a zero weight, and for one so small that
/// float32 cannot hold this.
float outer_scale(float whole) {
  const float scale = whole / (kMaxE2M1 * kMaxE4M3);
  return scale < std::numeric_limits<float>::min() ? 1.0f : scale;
}

/// amax / 6 as an E4M3 multiple of that. 0 for what is too small.
linalg::TileScale absmax(float amax, float whole) {
  const float outer = outer_scale(whole);
  const float inner = std::min(amax / kMaxE2M1 / outer, kMaxE4M3);
  return same(outer * static_cast<float>(c10::Float8_e4m3fn(inner)));
}

constexpr Packing kPacking = {stored, to_file, from_file};

}  // namespace

constinit const Codec kNvfp4 = {.format = "nvfp4",
                                .type = "nvfp4",
                                .granularity = Granularity::kGroup,
                                .scale_shape = ScaleShape::kGroups,
                                .grid = e2m1_grid,
                                .divide = true,
                                .absmax = absmax,
                                .packing = &kPacking,
                                .scale_type = ScaleType::kE4M3,
                                .outer_scale = outer_scale,
                                .group = 16,
                                .pad = 16};

}  // namespace ctq::format
