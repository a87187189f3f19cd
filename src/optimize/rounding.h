// What every optimizer takes and gives: a layer on its grid, and a choice of grid values.
#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "format/codec.h"
#include "linalg/tiles.h"

namespace ctq::optimize {

/// A weight with fixed scales, about to be rounded. An optimizer sees values of a grid, never bytes.
struct Layer {
  at::Tensor
      weight;  ///< W [out_features, in_features], float32, rotated as the codes are, less the format's zeros
  const format::Grid* grid = nullptr;
  format::Encoded form = {};  ///< rounded to nearest as it would be stored: which scales are possible, and
                              ///< what it decodes to. Without codec: any scale, and values times scale
  linalg::Tiling tiling;      ///< what shares a scale
  at::Tensor scale;           ///< decode scales, [tiles down, tiles across] float32
  at::Tensor nearest;  ///< round to nearest: values of the grid u [out_features, in_features], float32; u *
                       ///< scale ~ W
};

/// The layer of a weight in a codec: absmax scales and nearest values. weight: any float type, contiguous.
/// throws  Error(kFailure) when the weight is not finite
Layer make_layer(const format::Codec& codec, const at::Tensor& weight, int64_t block_size);

/// The layer of a weight that is rounded to nearest already; rotated as its codes are.
Layer make_layer(const format::Encoded& nearest, const at::Tensor& weight);

/// The rows [row, row + rows) of a layer whose tiles are of one row, as views.
Layer rows_of(const Layer& layer, int64_t row, int64_t rows);

/// For every scale of the layer's tiles the nearest one that its format can store.
at::Tensor storable(const Layer& layer, const at::Tensor& scale);

/// Whether error_of() is values * scale - W itself.
bool is_linear(const Layer& layer);

/// u = W / scale, 0 where the scale is 0.
at::Tensor scaled(const at::Tensor& weight, const at::Tensor& scale);

/// Scales of the layer's tiles, expanded to [out_features, in_features].
at::Tensor expanded_scale(const Layer& layer, const at::Tensor& scale);

/// E = values * scale - W, with what the format's decoder rounds between. scale: in place of the layer's own,
/// same shape.
at::Tensor error_of(const Layer& layer, const at::Tensor& values, const at::Tensor& scale);
inline at::Tensor error_of(const Layer& layer, const at::Tensor& values) {
  return error_of(layer, values, layer.scale);
}

/// A choice, and what it is worth in its optimizer's own objective.
struct Rounding {
  at::Tensor values;             ///< on the grid, u [out_features, in_features], float32
  at::Tensor scale;              ///< decode scales for them, of the shape of the layer's
  std::string method;            ///< "direct", "adamw" ...
  std::string objective;         ///< what was minimised: "subspace", "trace"
  double nearest_objective = 0;  ///< of round to nearest
  double objective_value = 0;    ///< of `values`; never above nearest_objective
  int64_t iterations = 0;        ///< of iterative optimizers and sweeps
  std::string stopped_by;        ///< why an iterative optimizer ended
  bool guarded = false;          ///< round to nearest was kept, because the optimizer did not beat it
};

/// A choice in the format of the weight that is rounded to nearest. rounding: of the layer that is made of it
format::Encoded encode(const format::Encoded& nearest, const Rounding& rounding);

}  // namespace ctq::optimize
