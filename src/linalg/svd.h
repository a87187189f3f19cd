// Leading singular vectors.
#pragma once

#include <cstdint>

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

namespace ctq::linalg {

/// A ~ U diag(s) V^T.
struct LowRank {
  at::Tensor u;  ///< [M, k], orthonormal columns
  at::Tensor s;  ///< [k], descending
  at::Tensor v;  ///< [N, k], orthonormal columns
};

/// The k leading singular triplets of a full decomposition.
///
/// a        [M, N], float32 or float64, any device; 1 <= k <= min(M, N)
/// returns  same type and device; on the CPU the same bits for any number of threads, because it runs on one
LowRank thin_svd(const at::Tensor& a, int64_t k);

/// The same by a randomized range finder with power iterations, each half step orthonormalized: error close
/// to the best of rank k where singular values decay. Halko, Martinsson, Tropp, "Finding structure with
/// randomness", SIAM Review 53 (2011), algorithms 4.4 and 5.1.
///
/// a          [M, N], float32 or float64, any device; 1 <= k <= min(M, N)
/// generator  of the CPU, also for other devices, so that all draw the same numbers
LowRank randomized_svd(const at::Tensor& a, int64_t k, at::Generator generator, int64_t oversample = 10,
                       int64_t power_iterations = 4);

/// An orthonormal basis [N, k] near the leading eigenvectors of a positive semi-definite matrix, by iteration
/// from random vectors: Halko et al., algorithm 4.4.
///
/// matrix   [N, N] float32, any device; 1 <= k <= N
/// rounds   of two products with the matrix
/// returns  on the CPU the same bits for any number of threads
at::Tensor leading_space(const at::Tensor& matrix, int64_t k, at::Generator generator, int64_t rounds);

/// L [k, N] with L^T L close to the best approximation of X^T X by rank k where eigenvalues decay, and never
/// above X^T X but for rounding: Nystroem's, in a subspace found by iteration from random vectors. With
/// k = min(n, N) it is X^T X. Tropp, Yurtsever, Udell, Cevher, "Fixed-rank approximation of a
/// positive-semidefinite matrix from streaming data", NIPS 2017, algorithm 3, without its last truncation;
/// Halko et al., algorithm 4.4.
///
/// x           [n, N], any float type, rows or columns contiguous; 1 <= k <= min(n, N)
/// iterations  2 (iterations + 1) products with X
/// returns     float32, x's device; NaN where float32 cannot hold X^T X; on the CPU the same bits for any
///             number of threads
at::Tensor low_rank_of_gram(const at::Tensor& x, int64_t k, at::Generator generator, int64_t iterations = 1);

}  // namespace ctq::linalg
