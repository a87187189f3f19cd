// Incoherence processing: rounding in a space where no weight stands out.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "optimize/one_pass.h"
#include "optimize/rounding.h"

namespace ctq::optimize {

/// A random orthogonal change of basis of `size` coordinates: random signs, then the Walsh-Hadamard matrix of
/// the largest power of two that divides the size, in Kronecker product with a random orthogonal factor for
/// the rest; or one dense random orthogonal matrix.
class Incoherence {
 public:
  /// The same seed gives the same basis. device: where it is applied
  Incoherence(int64_t size, uint64_t seed, bool hadamard, at::Device device);

  /// x Q^T for every row of x [n, size], float32.
  at::Tensor forward(const at::Tensor& x) const;
  /// y Q for every row: forward() undone.
  at::Tensor backward(const at::Tensor& y) const;

 private:
  int64_t power_ = 1;  // of two, from the size
  at::Tensor signs_;   // [size]
  at::Tensor rest_;    // [size / power_, size / power_], orthogonal
};

struct QuipSettings {
  OnePassSettings one_pass;  ///< in both spaces
  uint64_t seed = 0;
  bool hadamard = true;  ///< else dense orthogonal matrices
};

/// W' = Q_out W Q_in^T is rounded by error feedback with H' = Q_in H Q_in^T, on the layer's grid with a scale
/// per row, and turned back; the result is what error feedback in the original space, where it is stored,
/// then rounds. A row is taken from there where tr(E H E^T) against W is lower than that of rounding W itself
/// (Chee et al., "QuIP", arXiv:2307.13304, algorithms 1 and 2).
///
/// returns  objective "trace", never above that of round_with_second_moment()
Rounding round_with_incoherence(const Layer& layer, const linalg::Moment& moment,
                                const QuipSettings& settings);

}  // namespace ctq::optimize
