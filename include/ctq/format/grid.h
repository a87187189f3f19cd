// The values that codes stand for before scaling. What an optimizer knows of a format.
#pragma once

#include <string_view>

#include <ATen/core/Tensor.h>

#include "ctq/linalg/tiles.h"

namespace ctq::format {

/// A finite set of values, symmetric about zero (INT8: -127..127; E4M3: up to 448; E5M2: up to 57344).
/// Tensors are float32, any shape and device, in the scaled domain u = w / scale; results have the same shape
/// and device.
class Grid {
 public:
  virtual ~Grid() = default;
  virtual std::string_view name() const = 0;
  virtual linalg::Code code() const = 0;
  virtual float max_abs() const = 0;
  virtual at::Tensor nearest(const at::Tensor& u) const = 0;  ///< ties to even, saturating
  virtual at::Tensor below(const at::Tensor& u) const = 0;  ///< largest value <= u; -max_abs() for smaller u
  virtual at::Tensor above(const at::Tensor& u) const = 0;  ///< smallest value >= u; max_abs() for larger u
};

const Grid& int8_grid();
const Grid& e4m3_grid();
const Grid& e5m2_grid();

}  // namespace ctq::format
