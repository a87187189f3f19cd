// What two tensors on a GPU differ by.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace ctq::linalg {

/// Sums over a piece of elements, in float64.
struct DifferenceSums {
  double errors = 0, error_squares = 0, weights = 0, weight_squares = 0;
  double max_error = 0;
  int64_t to_zero = 0;  ///< values that are not zero in the original and zero in the other
  int64_t numel = 0;
};

/// Of consecutive pieces, read from the device at once. original, decoded: of one shape, on a GPU
std::vector<DifferenceSums> difference_sums(const at::Tensor& original, const at::Tensor& decoded);

}  // namespace ctq::linalg
