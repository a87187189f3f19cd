#include "variants.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/text.h"
#include "linalg/hadamard.h"
#include "linalg/tiles.h"

namespace ctq::quantized {
namespace {

constexpr bool kEvenIsHigh = false;  // of the two columns in a byte

void require_shape(const at::Tensor& tensor, std::string_view role, at::IntArrayRef shape) {
  if (tensor.sizes() != shape)
    fail(ErrorCode::kBadInput, "{} is {}, not {}", role, shape_text(tensor.sizes()), shape_text(shape));
}

/// Codes 0..15 of a matrix of nibbles, as indices.
at::Tensor nibbles(const at::Tensor& bytes) {
  return linalg::unpack_nibbles(bytes.view(at::kByte).contiguous(), kEvenIsHigh).to(at::kLong);
}

/// Of the six-bit form: all low nibbles of a row, then two bits of four columns to a byte; 32 stands for 0.
at::Tensor six_bit_levels(const at::Tensor& bytes, int64_t in_features) {
  const int64_t half = in_features / 2;
  const at::Tensor high = bytes.view(at::kByte).narrow(1, half, in_features / 4).to(at::kLong).unsqueeze(2);
  const at::Tensor top = high.bitwise_right_shift(at::arange(0, 8, 2, at::kLong)).bitwise_and(3);
  const at::Tensor codes = nibbles(bytes.narrow(1, 0, half)) + top.reshape({bytes.size(0), in_features}) * 16;
  return (codes - 32).to(at::kFloat);
}

at::Tensor levels_of(const Layer& layer, const at::Tensor& bytes, int64_t in_features, const Stored& stored) {
  if (bytes.size(1) == in_features * 3 / 4) return six_bit_levels(bytes, in_features);
  const at::Tensor codes = nibbles(bytes);
  if (!layer.side("weight_codebook")) return (codes - 8).to(at::kFloat);
  const at::Tensor codebook = stored("weight_codebook").to(at::kFloat);
  require_shape(codebook, "weight_codebook", {16});
  return codebook.index({codes});
}

}  // namespace

at::Tensor decode_asym_w4a8(const Layer& layer, int64_t out_features, int64_t in_features,
                            const Stored& stored) {
  const at::Tensor bytes = stored("weight"), relative = stored("weight_s_rel"),
                   channel = stored("weight_s_channel");
  if (bytes.dim() != 2 || bytes.size(1) != in_features * 3 / 4)
    require_shape(bytes, "weight", {out_features, in_features / 2});
  require_shape(channel, "weight_s_channel", {out_features});
  if (relative.dim() != 2 || relative.size(1) == 0 || in_features % relative.size(1) != 0 ||
      relative.element_size() != 1)
    fail(ErrorCode::kBadInput, "weight_s_rel {} fits no runs of {} columns", shape_text(relative.sizes()),
         in_features);
  require_shape(relative, "weight_s_rel", {out_features, relative.size(1)});
  const at::Tensor scale = relative.view(at::kFloat8_e4m3fn).to(at::kFloat).unsqueeze(2);
  const at::Tensor runs =
      levels_of(layer, bytes, in_features, stored).reshape({out_features, relative.size(1), -1});
  const at::Tensor integers = (runs * scale).round().clamp(-127, 127).reshape({out_features, in_features});
  return linalg::rotate_columns(integers * channel.to(at::kFloat).unsqueeze(1), layer.rotation_group());
}

at::Tensor decode_awq_w4a16(int64_t out_features, int64_t in_features, const Stored& stored) {
  const at::Tensor bytes = stored("weight"), scale = stored("weight_scale"), zeros = stored("weight_zeros");
  require_shape(bytes, "weight", {out_features, in_features / 2});
  if (scale.dim() != 2 || scale.size(0) == 0 || in_features % scale.size(0) != 0 ||
      !at::isFloatingType(scale.scalar_type()))
    fail(ErrorCode::kBadInput, "weight_scale {} fits no runs of {} columns", shape_text(scale.sizes()),
         in_features);
  require_shape(scale, "weight_scale", {scale.size(0), out_features});
  require_shape(zeros, "weight_zeros", scale.sizes());
  const int64_t run = in_features / scale.size(0);
  const auto by_column = [&](const at::Tensor& runs) { return runs.t().repeat_interleave(run, 1); };
  const at::Tensor codes = (nibbles(bytes) - 8).to(scale.scalar_type());
  return (codes * by_column(scale) + by_column(zeros.to(scale.scalar_type()))).to(at::kFloat);
}

}  // namespace ctq::quantized
