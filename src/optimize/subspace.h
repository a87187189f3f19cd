// The leading singular directions of a weight, and the error inside them.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "linalg/svd.h"

namespace ctq::optimize {

struct SubspaceSettings {
  double top_p = 0.2;  ///< share of the singular directions
  int64_t min_k = 64;
  int64_t max_k = 1024;
  bool full_svd = false;  ///< instead of the randomized one
  uint64_t seed = 0;      ///< of the randomized one
};

/// k = min(max_k, max(min_k, floor(top_p min(M, N)))), at most min(M, N).
int64_t subspace_rank(int64_t out_features, int64_t in_features, const SubspaceSettings& settings);

/// The k leading singular triplets. weight: [out_features, in_features] float32, not empty.
linalg::LowRank leading_vectors(const at::Tensor& weight, const SubspaceSettings& settings);

/// subspace_rel = ||U^T E V||_F / ||W||_F; 0 for a zero weight. error: E, of the weight's shape.
double subspace_rel(const linalg::LowRank& leading, const at::Tensor& weight, const at::Tensor& error);

}  // namespace ctq::optimize
