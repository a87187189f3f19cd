// The tensors between a norm and a layer that reads what it made.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "families/structure.h"
#include "linalg/moment.h"

namespace ctq::calibrate {

using families::Activation;
using families::Norm;

/// y = x weight^T + bias.
struct Linear {
  at::Tensor weight;  ///< [out_features, in_features] float32; undefined: there is no such linear
  at::Tensor bias;    ///< [out_features] float32, or undefined
};

/// Tensors of a structure; all on one device, where the arithmetic runs.
struct Path {
  Norm norm = Norm::kLayer;
  int64_t width = 0;      ///< of the norm
  at::Tensor norm_scale;  ///< [width] float32, what z is multiplied by; undefined: 1
  at::Tensor norm_bias;   ///< [width] float32, or undefined
  Linear values;
  int64_t value_head = 0;     ///< width of a value head, where heads repeat
  int64_t value_repeats = 1;  ///< how many query heads in a row read one value head
  Linear gate;
  Linear up;
  Activation activation = Activation::kNone;

  int64_t outputs() const;
};

struct Moments {
  linalg::Moment second;  ///< E x x^T, [outputs, outputs] float32
  at::Tensor mean;        ///< E x, [outputs] float32
};

/// Any float type and device.
at::Tensor activate(Activation activation, const at::Tensor& x);

}  // namespace ctq::calibrate
