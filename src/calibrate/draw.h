// Random rows pushed through a norm and what follows it, and their moments.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "calibrate/structures.h"

namespace ctq::calibrate {

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
  at::Tensor second;  ///< X^T X / n, [outputs, outputs] float32
  at::Tensor mean;    ///< [outputs] float32
};

/// Moments of `rows` rows (from 1 on) of the path's output. The normal numbers are drawn on the CPU; on the
/// CPU the result has the same bits for any number of threads.
Moments draw_moments(const Path& path, uint64_t seed, int64_t rows, at::Device device);

}  // namespace ctq::calibrate
