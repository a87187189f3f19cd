// The second moment of a layer's input, in the form that costs least.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include <ATen/core/Tensor.h>

#include "linalg/block_diagonal.h"

namespace ctq::linalg {

/// Columns from which D + X^T X is taken where it says what a matrix would.
inline constexpr int64_t kSamplesFrom = 1024;

/// Whether a layer is rounded in less time under D + X^T X with so many rows X than under the matrix
/// (docs/optimizers/sample_space.md).
bool worth_samples(int64_t rows, int64_t columns);

/// Columns of D + X^T X that are rounded as one run.
inline constexpr int64_t kSampleRun = 512;

/// Whether D + X^T X stays such where runs of so many columns are turned: blocks of D must not be cut.
constexpr bool stays_in_samples(int64_t block) { return block > 0 && kSampleRun % block == 0; }

/// H [N, N], symmetric and positive semi-definite: as a matrix, or as D + X^T X with D diagonal or of blocks
/// on the diagonal and few rows X, for which nothing but matrix() makes one.
class Moment {
 public:
  /// Undefined.
  Moment() = default;
  /// [N, N]
  Moment(at::Tensor matrix) : matrix_(std::move(matrix)) {}
  /// rest: D. rows: X [r, N]. Of one float type and device
  Moment(BlockDiagonal rest, at::Tensor rows) : rest_(std::move(rest)), rows_(std::move(rows)) {}

  /// rows: X. D is what they leave of that diagonal [N], or 0
  static Moment with_diagonal(const at::Tensor& diagonal, const at::Tensor& rows);

  bool defined() const { return matrix_.defined() || rest_.defined(); }
  bool is_matrix() const { return matrix_.defined(); }
  int64_t size() const { return is_matrix() ? matrix_.size(0) : rest_.size(); }
  at::Device device() const { return is_matrix() ? matrix_.device() : rest_.device(); }

  const BlockDiagonal& rest() const { return rest_; }  ///< D; undefined for a matrix
  const at::Tensor& rows() const { return rows_; }     ///< X; undefined for a matrix

  /// diag(H), [N].
  at::Tensor diagonal() const;
  /// H itself. On the CPU the same bits for any number of threads.
  at::Tensor matrix() const;
  /// The part of H in those rows and columns; of a matrix a view.
  at::Tensor block(int64_t row, int64_t height, int64_t column, int64_t width) const;
  /// The blocks on the diagonal of so many columns each: [size / width rounded up, width, width], contiguous;
  /// what the last one lacks is 0.
  at::Tensor blocks(int64_t width) const;
  /// Of Q x, from that of x, Q orthogonal. turn: as of conjugate(). block: of so many columns that Q turns
  /// among themselves; 0: all. D + X^T X becomes a matrix where D is not d I and stays_in_samples() says so
  Moment turned(const std::function<at::Tensor(const at::Tensor& x)>& turn, int64_t block = 0) const;
  /// D + X^T X with at most so many rows: of X^T X what lies near its leading eigenvectors, in D the rest of
  /// its diagonal. Of a matrix itself.
  Moment leading(int64_t most_rows) const;
  /// The same, on the CPU of D + X^T X with the columns of X apart, as Pull likes them best.
  Moment by_columns() const;
  /// Of x / factors, from that of x. factors: [N]
  Moment divided(const at::Tensor& factors) const;
  /// H + shift I.
  Moment shifted(const at::Tensor& shift) const;

 private:
  at::Tensor matrix_;
  BlockDiagonal rest_;
  at::Tensor rows_;
};

/// E H by columns, while E changes. Works on the thread that calls: on the CPU E is a panel of rows.
class Pull {
 public:
  /// h [N, N], error [M, N]: must outlive this. mapped: E X^T [M, r] where it is known, of no matrix; changed
  Pull(const Moment& h, const at::Tensor& error, const at::Tensor& mapped = {});

  /// (E H) of those columns, [M, width], of E as it is.
  at::Tensor columns(int64_t begin, int64_t width) const;
  /// To be called after columns of E from `begin` on became what they are. change: what was added to them,
  /// [M, width]
  void moved(int64_t begin, const at::Tensor& change);
  /// e H e^T of every row of E as it is, [M] float64. h: no matrix
  at::Tensor costs() const;

 private:
  const Moment& h_;
  const at::Tensor& error_;
  at::Tensor mapped_;  // E X^T [M, r]
};

}  // namespace ctq::linalg
