// AdaRound: rounding decisions found by gradient descent on a relaxation that is pressed to 0 and 1.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace ctq::optimize {

/// How a gradient becomes a step.
enum class AdaRoundSolver : uint8_t {
  kAdamW,    ///< Loshchilov & Hutter, arXiv:1711.05101, decay 1e-6
  kAdam,     ///< the same without decay
  kAdaGrad,  ///< Duchi et al., JMLR 12 (2011)
  kRmsProp,  ///< with smoothing 0.99
  kSgd,
};

/// Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", arXiv:2004.10568.
///
/// Each weight has a position h in [0, 1] between the two values of its grid around it, at first where it
/// lies. Minimised over h is
///   tr(E H' E^T) / (mean(diag H') spacing^2) + 3000 reg_lambda sum_ij (1 - |2 h_ij - 1|^beta),
/// E the error of the weights at their positions, spacing the root mean square of the grid's steps: so
/// reg_lambda means the same for every layer. beta falls linearly, the learning rate by a cosine to 0. The
/// positions are clamped rather than passed through a sigmoid, and rounded at one half in the end.
struct AdaRoundSettings {
  int64_t iterations = 200;  ///< at most
  double lr = 0.03;          ///< in steps of the grid
  double reg_lambda = 0.015;
  double beta_start = 20, beta_end = 2;
  double least_gain = 5e-6;  ///< as a share of the objective; 50 iterations in a row with less end it
  AdaRoundSolver solver = AdaRoundSolver::kAdamW;
  bool half_products = false;  ///< E H' by bfloat16 factors
  std::optional<std::chrono::steady_clock::time_point> deadline =
      {};  ///< no iteration begins after it; nothing: no end
};

}  // namespace ctq::optimize
