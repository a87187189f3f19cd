// How far a decoded weight is from its original. Pure functions; names are those of docs/ARCHITECTURE.md,
// "Error figures".
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace ctq::metrics {

/// E = decoded - original, over all elements; sums in float64.
struct WeightError {
  int64_t numel = 0;
  double mse = 0;         ///< mean E^2
  double max_error = 0;   ///< max |E|
  double sqnr_db = 0;     ///< -20 log10(weight_rel); +infinity for an exact copy
  double weight_rel = 0;  ///< ||E||_F / ||W||_F; 0 when both are 0, +infinity when only W is
  double variance_db =
      0;  ///< 10 log10(var W / var E), unbiased: the seed's "SQNR", blind to a constant offset
  int64_t non_finite = 0;  ///< decoded values that are NaN or infinite; the other figures are then NaN
  int64_t to_zero = 0;     ///< values that are not zero and decode to zero
  int64_t rows_to_zero =
      0;  ///< rows with such values that decode to zeros alone: output features that are lost
};

/// original, decoded: same shape and device, any float types.
WeightError weight_error(const at::Tensor& original, const at::Tensor& decoded);

/// output_rel = ||X E^T||_F / ||Y - mean(Y)||_F, Y = X W^T, for rows X of a layer's input.
///
/// x         [n, in_features] float32, n > 0
/// original, decoded: [out_features, in_features], any float types; one device
/// returns   0 when both norms are 0; sums in float64, rows of the weight some at a time
double output_rel(const at::Tensor& x, const at::Tensor& original, const at::Tensor& decoded);

}  // namespace ctq::metrics
