#include "optimize/rounding.h"

#include <ATen/ATen.h>

#include "base/error.h"

namespace ctq::optimize {

Layer make_layer(const format::Codec& codec, const at::Tensor& weight, int64_t block_size) {
  const auto encoded = format::encode_nearest(codec, weight, block_size);
  if (!encoded) fail(ErrorCode::kFailure, "the weight holds NaN or infinite values");
  return make_layer(*encoded, weight);
}

Layer make_layer(const format::Encoded& nearest, const at::Tensor& weight) {
  const int64_t rows = weight.size(0), columns = weight.size(1);
  Layer layer;
  layer.weight = format::in_code_space(weight, nearest).to(at::kFloat).contiguous();
  layer.grid = &nearest.codec->grid();
  layer.form = nearest;
  layer.tiling = format::tiling(*nearest.codec, rows, columns, nearest.block_size);
  layer.scale = nearest.scales.reshape({layer.tiling.count_down(rows), layer.tiling.count_across(columns)});
  layer.nearest = layer.grid->values(nearest.codes);
  if (nearest.zeros.defined()) layer.weight = layer.weight - expanded_scale(layer, nearest.zeros);
  return layer;
}

Layer rows_of(const Layer& layer, int64_t row, int64_t rows) {
  const auto part = [&](const at::Tensor& tensor) { return tensor.narrow(0, row, rows); };
  Layer some = layer;
  some.weight = part(layer.weight);
  some.scale = part(layer.scale);
  some.nearest = part(layer.nearest);
  if (layer.form.codec) some.form = format::rows_of(layer.form, row, rows);
  return some;
}

at::Tensor storable(const Layer& layer, const at::Tensor& scale) {
  return layer.form.codec ? format::storable_scales(*layer.form.codec, scale, layer.form.outer_scale) : scale;
}

bool is_linear(const Layer& layer) {
  return !layer.form.codec || format::decodes_linearly(*layer.form.codec);
}

at::Tensor scaled(const at::Tensor& weight, const at::Tensor& scale) {
  return at::where(scale > 0, weight / scale, 0);
}

at::Tensor expanded_scale(const Layer& layer, const at::Tensor& scale) {
  const int64_t rows = layer.weight.size(0), columns = layer.weight.size(1);
  at::Tensor expanded = scale;
  if (layer.tiling.rows > 1) expanded = expanded.repeat_interleave(layer.tiling.rows, 0).narrow(0, 0, rows);
  if (layer.tiling.cols > 1)
    expanded = expanded.repeat_interleave(layer.tiling.cols, 1).narrow(1, 0, columns);
  return expanded.expand({rows, columns});
}

at::Tensor error_of(const Layer& layer, const at::Tensor& values, const at::Tensor& scale) {
  if (is_linear(layer)) return at::addcmul(-layer.weight, values, expanded_scale(layer, scale));
  Rounding rounding;
  rounding.values = values;
  rounding.scale = scale;
  const at::Tensor error = format::decode_codes(encode(layer.form, rounding)).sub_(layer.weight);
  return layer.form.zeros.defined() ? error.sub_(expanded_scale(layer, layer.form.zeros)) : error;
}

format::Encoded encode(const format::Encoded& nearest, const Rounding& rounding) {
  format::Encoded encoded = nearest;
  encoded.codes = nearest.codec->grid().codes(rounding.values);
  encoded.scales = rounding.scale.reshape(nearest.scales.sizes());
  return encoded;
}

}  // namespace ctq::optimize
