// mxfp8: float8_e4m3fn in runs of 32 columns that share a power of two.
#include <ATen/ATen.h>

#include "ctq/base/round_up.h"
#include "ctq/format/swizzle.h"
#include "packing.h"

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

}  // namespace

const Packing kMxfp8 = {stored, to_file, from_file};
const Packing kHybridMxfp8 = {stored_with_scalar, to_file_with_scalar, from_file};

}  // namespace ctq::format
