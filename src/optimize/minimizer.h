// Ways to lower tr(E H' E^T), H' = H + lambda mean(diag H) I, over the codes: error feedback with all of H'
// factored at once, in the space of its samples, or in segments of columns; AdaRound.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include <ATen/core/Tensor.h>

#include "optimize/one_pass.h"

namespace ctq::optimize {

class Minimizer {
 public:
  virtual ~Minimizer() = default;

  /// Values of the layer's grid for `weight`, a matrix of the layer's shape. cost: where not null, e H' e^T
  /// of every row of the error against `weight`, [out_features] float64, or undefined where it is not known.
  virtual at::Tensor round(const Layer& layer, const at::Tensor& weight, at::Tensor* cost) const = 0;
  /// The same of the layer's own weight, and sweeps of coordinate descent over them. cost: never null
  virtual at::Tensor round_and_sweep(const Layer& layer, int64_t sweeps, at::Tensor* cost) const {
    return sweep(layer, round(layer, layer.weight, nullptr), sweeps, cost);
  }
  /// Those values after sweeps of coordinate descent. cost: as above, never null
  virtual at::Tensor sweep(const Layer& layer, const at::Tensor& values, int64_t sweeps,
                           at::Tensor* cost) const = 0;
  /// e H' e^T of every row, [out_features] float64.
  virtual at::Tensor costs(const at::Tensor& error) const = 0;
  /// What scales are judged by. [in_features, in_features]
  virtual const linalg::Moment& h() const = 0;
  /// The damping that was used.
  virtual double lambda() const = 0;
  /// How the rounds so far ended, where they are iterated.
  struct Ending {
    int64_t iterations = 0;  ///< of the longest
    std::string_view by;     ///< "time", "stall", "iterations"; empty: not iterated
  };
  virtual Ending ending() const { return {}; }
};

/// Null where H' cannot be factored. h: [in_features, in_features] float32; must outlive the result.
/// with_h: whether sweep() or h() will be called
std::unique_ptr<Minimizer> minimize_at_once(const linalg::Moment& h, const OnePassSettings& settings,
                                            bool with_h);

/// The same for one that is no matrix, at a cost that grows with its rows.
std::unique_ptr<Minimizer> minimize_in_sample_space(const linalg::Moment& h, const OnePassSettings& settings);

/// Columns in `settings.segments` runs of one length. A run is rounded with the block of H' that is its own,
/// after the errors E of the runs before it moved its optimum by -E H_before,run H_run^-1; sweeps do the same
/// with the errors of all other runs, which is coordinate descent over all columns. What is lost is that
/// a run does not count on later ones to correct for it. Of H' nothing but the runs' factors is held, so
/// little more memory than that of h is needed.
std::unique_ptr<Minimizer> minimize_in_segments(const Layer& layer, const at::Tensor& h,
                                                const OnePassSettings& settings);

/// By gradients on all codes at once (adaround.h). `settings.adaround` is there.
std::unique_ptr<Minimizer> minimize_by_adaround(const at::Tensor& h, const OnePassSettings& settings);

}  // namespace ctq::optimize
