// X^T X, and the triangular factor of a second moment that error feedback runs on.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace ctq::linalg {

/// Damping that grows where a factorization fails: x 10 (0.01 after 0), up to 1.
class DampingLadder {
 public:
  explicit DampingLadder(double lambda) : lambda_(lambda) {}
  double lambda() const { return lambda_; }
  /// False where nothing stronger is left.
  bool climb();

 private:
  double lambda_;
};

/// X^T X, exactly symmetric.
///
/// x        [n, N], float32 or float64, any device
/// returns  [N, N], same type and device; on the CPU the same bits for any number of threads
at::Tensor gram(const at::Tensor& x);

/// The same in float32, with so many rows of x in that type at a time. x: any float type
at::Tensor gram_by_rows(const at::Tensor& x, int64_t rows_at_once);

/// In which order columns are rounded. Later columns correct for the errors of earlier ones, so the last have
/// the least to lean on.
enum class ColumnOrder : uint8_t {
  kNatural,  ///< from left to right
  kActOrder  ///< by descending diag(H); equal ones from left to right
};

/// The mean of a vector, on the CPU in one order whatever the number of threads.
double mean_of(const at::Tensor& values);

/// Columns in the order kActOrder. diagonal: of H, [N]
at::Tensor columns_by(const at::Tensor& diagonal);

/// H = U D U^T of a damped second moment, U unit upper triangular, D diagonal.
struct FeedbackFactor {
  bool ok = false;  ///< false: not positive definite even with the strongest damping; only dead, lambda and
                    ///< attempts hold
  at::Tensor feedback;  ///< U, [N, N]: a unit error of column i moves the optimum of column j > i by -U_ij
  at::Tensor pivots;    ///< D, [N]: what a unit error of column j costs after all later columns have moved to
                        ///< correct for it
  at::Tensor order;     ///< [N] int64, rows and columns of U and D are H's columns order[0], order[1], ..;
                        ///< undefined: natural order
  at::Tensor dead;      ///< [N] bool, in H's order: columns with H_jj == 0, an input that is always zero
  double lambda = 0;    ///< the damping that was used
  int attempts = 0;
};

/// Factors H + lambda mean(diag H) I after dead columns got H_jj = 1 (so they are rounded to nearest and
/// influence nothing). A factorization that fails is tried again with more damping.
///
/// GPTQ (Frantar et al., arXiv:2210.17323, step 3) uses the upper Cholesky factor C of the inverse, H^-1
/// = C^T C. With H = R R^T, R upper triangular, C = R^-1, and U = R diag(R)^-1 gives the same recursion
/// without an inverse (Chee et al., "QuIP", arXiv:2307.13304, section 3 and theorem 6). Hence one Cholesky
/// factorization, run from the last column to the first.
///
/// h        [N, N], float32 or float64, any device; symmetric, positive semi-definite; upper triangle read
/// returns  factors of h's type and device; on the CPU the same bits for any number of threads
FeedbackFactor damped_factor(const at::Tensor& h, double lambda, ColumnOrder order = ColumnOrder::kNatural);

/// Factors H as it is. What it returns is to be used once is_factored() has said so of its status, at once or
/// for several factors together: on a GPU the host waits for the answer.
FeedbackFactor undamped_factor(const at::Tensor& h, at::Tensor* status);
bool is_factored(at::TensorList statuses);

/// X H^-1 for the H that was factored.
///
/// factor   ok
/// x        [M, N], columns in H's order; type and device of the factor
/// returns  [M, N], columns in H's order; on the CPU the same bits for any number of threads
at::Tensor solve(const FeedbackFactor& factor, const at::Tensor& x);

}  // namespace ctq::linalg
