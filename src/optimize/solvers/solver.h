// How a gradient becomes a step: one file per method.
#pragma once

#include <ATen/core/Tensor.h>

#include "optimize/learned.h"

namespace ctq::optimize {

/// The positions that are learned. Solvers think in x = height / spacing * position: the weight, in units of
/// the layer's typical grid spacing. So a step changes weights by equal amounts, whatever their own spacing;
/// steps that are equal in codes move FP8's large weights too far.
struct Positions {
  at::Tensor h;       ///< between the neighbours, 0 to 1, [out_features, in_features]
  at::Tensor start;   ///< h at the start
  at::Tensor height;  ///< distance of the neighbours in the weight's own unit; 0 for a weight on the grid
  at::Tensor codes_per_x;  ///< spacing / height; 0 where height is 0
  double spacing = 1;      ///< root mean square of `height`

  /// x <- x - amount * step. Leaves [0, 1] to the caller.
  void move(const at::Tensor& step, double amount);
  /// x <- x - share (x - x at the start): weight decay of the displacement.
  void pull_back(double share);
};

class Solver {
 public:
  virtual ~Solver() = default;
  /// One step against the gradient with respect to x, whose entries have a root mean square near 1.
  virtual void step(Positions& positions, const at::Tensor& gradient, double lr) = 0;
};

}  // namespace ctq::optimize
