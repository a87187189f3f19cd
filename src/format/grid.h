// The values that codes stand for before scaling. What an optimizer knows of a format.
#pragma once

#include <string_view>

#include <ATen/core/Tensor.h>

#include "linalg/tiles.h"

namespace ctq::format {

/// A finite set of values (linalg::Code says which). Tensors are float32, any shape and device, in the scaled
/// domain u = w / scale; results have the same shape and device.
class Grid {
 public:
  explicit Grid(linalg::Code code) : code_(code), row_(linalg::code_row(code)) {}
  virtual ~Grid() = default;
  std::string_view name() const { return row_.name; }
  linalg::Code code() const { return code_; }
  float min() const { return row_.min; }      ///< the least value
  float max_abs() const { return row_.max; }  ///< what absmax scales the largest magnitude to
  bool uniform() const { return row_.spacing == linalg::Spacing::kInteger; }  ///< all steps are of one size
  int bits() const { return row_.bits; }                                      ///< that a code takes in a file
  virtual at::Tensor nearest(const at::Tensor& u) const = 0;  ///< ties as the code has them, saturating
  virtual at::Tensor below(const at::Tensor& u) const = 0;    ///< largest value <= u; min() for smaller u
  virtual at::Tensor above(const at::Tensor& u) const = 0;  ///< smallest value >= u; the largest for larger u

  /// The codes of values of the grid, of linalg::code_dtype(code()).
  at::Tensor codes(const at::Tensor& values) const;
  /// The values of codes.
  at::Tensor values(const at::Tensor& codes) const;

 protected:
  const linalg::CodeRow& row() const { return row_; }

 private:
  linalg::Code code_;
  linalg::CodeRow row_;
};

const Grid& int8_grid();
const Grid& e4m3_grid();
const Grid& e5m2_grid();
const Grid& e2m1_grid();
const Grid& int4_grid();     ///< -7..7
const Grid& nibble_grid();   ///< -8..7
const Grid& level16_grid();  ///< linalg::kLevels16

}  // namespace ctq::format
