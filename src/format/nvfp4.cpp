// nvfp4: 4-bit floats in runs of 16 columns, E4M3 scales relative to one of the tensor.
#include <ATen/ATen.h>

#include "ctq/base/round_up.h"
#include "ctq/format/swizzle.h"
#include "packing.h"

namespace ctq::format {
namespace {

constexpr bool kEvenIsHigh = true;  // of the two columns in a byte

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
  const at::Tensor inner = encoded.scales.div(encoded.outer_scale).clamp_max_(448);  // largest E4M3
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

}  // namespace

const Packing kNvfp4 = {stored, to_file, from_file};

}  // namespace ctq::format
