// The continuous stand-in for a choice of codes, and its loss in a subspace.
#pragma once

#include <ATen/core/Tensor.h>

#include "optimize/solvers/solver.h"

namespace ctq::optimize {

/// Where each weight lies between the two values of its grid around it.
struct Neighbours {
  at::Tensor below, above;  ///< values of the grid
  at::Tensor lower_error;   ///< below * scale - W, as the format decodes it
  Positions positions;      ///< rounded at one half they are round to nearest
};
Neighbours neighbours_of(const Layer& layer);

/// ||U^T E V||_F / ||W||_F as a function of the side each weight is rounded to.
///
/// U [M, k] and V [N, k] hold W's leading singular vectors. With B the lower neighbours and H the distances
/// to the upper ones, both times the scale, E = B - W + H r for r in {0, 1}.
class Relaxation {
 public:
  Relaxation(const Layer& layer, at::Tensor u, at::Tensor v);

  Positions& positions() { return positions_; }
  /// Whether any weight lies between two values of its grid.
  bool any_choice() const { return any_choice_; }

  /// Rounds the positions and measures them.
  /// returns  the loss, a float32 scalar on the device
  at::Tensor measure();
  /// r of the last measure(): 0 or 1.
  const at::Tensor& sides() const { return sides_; }
  /// The gradient of the measured loss with respect to x (see Positions), times a constant that brings its
  /// root mean square near 1: sqrt(M N) U P V^T / ||P||, P = U^T E V.
  const at::Tensor& gradient();

  /// The grid values of a choice of sides.
  at::Tensor values(const at::Tensor& sides) const;
  /// The loss of any grid values.
  double loss_of(const Layer& layer, const at::Tensor& values) const;

 private:
  at::Tensor u_, v_, u_t_, v_t_;
  at::Tensor below_, above_;
  at::Tensor lower_error_;  // B - W
  double weight_norm_ = 0;
  bool any_choice_ = false;
  Positions positions_;
  at::Tensor sides_, error_, error_times_v_, gradient_, projected_, projected_norm_;
};

}  // namespace ctq::optimize
