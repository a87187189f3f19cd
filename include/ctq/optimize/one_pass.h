// Rounding in one pass with error feedback, for a second moment of the layer's input that is given or made
// up.
#pragma once

#include <cstdint>
#include <string>

#include "ctq/linalg/cholesky.h"
#include "ctq/optimize/rounding.h"

namespace ctq::optimize {

struct OnePassSettings {
  double lambda = 0;   ///< share of mean(diag H) added to H's diagonal
  int64_t sweeps = 0;  ///< of coordinate descent afterwards
  linalg::ColumnOrder order = linalg::ColumnOrder::kNatural;
};

/// Minimises tr(E H' E^T), E = values * scale - W, H' = H + lambda mean(diag H) I, by linalg::ldlq_round and
/// coordinate descent.
///
/// h        [in_features, in_features] float32, the layer's device
/// returns  objective "trace", divided by tr(W H' W^T); round to nearest, guarded, where H cannot be factored
/// or nothing is gained
Rounding round_with_second_moment(const Layer& layer, const at::Tensor& h, const OnePassSettings& settings,
                                  std::string method);

/// What `direct` minimises for want of data.
enum class DirectObjective : uint8_t {
  kMixed,     ///< H = W^T W / mean(diag(W^T W)) + damping I
  kSubspace,  ///< H = V_k V_k^T + 0.02 I, V_k the leading right singular vectors
};

struct DirectSettings {
  DirectObjective objective = DirectObjective::kMixed;
  double damping = 4;
  double top_p = 0.2;  ///< kSubspace: k = min(max_k, max(min_k, floor(top_p min(M, N))))
  int64_t min_k = 64;
  int64_t max_k = 1024;
  bool full_svd = false;
  uint64_t seed = 0;
};

/// The second moment that stands in for the layer's input. [in_features, in_features] float32.
at::Tensor direct_second_moment(const at::Tensor& weight, const DirectSettings& settings);

}  // namespace ctq::optimize
