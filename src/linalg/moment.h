// The second moment of a layer's input, in the form that costs least.
#pragma once

#include <cstdint>
#include <utility>

#include <ATen/core/Tensor.h>

namespace ctq::linalg {

/// Columns from which D + X^T X is taken where it says what a matrix would.
inline constexpr int64_t kSamplesFrom = 1024;

/// H [N, N], symmetric and positive semi-definite: as a matrix, or as D + X^T X with D diagonal and few rows
/// X, for which nothing but matrix() makes one.
class Moment {
 public:
  /// Undefined.
  Moment() = default;
  /// [N, N]
  Moment(at::Tensor matrix) : matrix_(std::move(matrix)) {}
  /// rest: D [N]. rows: X [r, N]. Of one float type and device
  Moment(at::Tensor rest, at::Tensor rows) : rest_(std::move(rest)), rows_(std::move(rows)) {}

  bool defined() const { return matrix_.defined() || rest_.defined(); }
  bool is_matrix() const { return matrix_.defined(); }
  int64_t size() const { return is_matrix() ? matrix_.size(0) : rest_.size(0); }
  at::Device device() const { return is_matrix() ? matrix_.device() : rest_.device(); }

  const at::Tensor& rest() const { return rest_; }  ///< D; undefined for a matrix
  const at::Tensor& rows() const { return rows_; }  ///< X; undefined for a matrix

  /// diag(H), [N].
  at::Tensor diagonal() const;
  /// H itself. On the CPU the same bits for any number of threads.
  at::Tensor matrix() const;
  /// The part of H in those rows and columns; of a matrix a view.
  at::Tensor block(int64_t row, int64_t height, int64_t column, int64_t width) const;
  /// Of x / factors, from that of x. factors: [N]
  Moment divided(const at::Tensor& factors) const;
  /// H + shift I.
  Moment shifted(const at::Tensor& shift) const;

 private:
  at::Tensor matrix_, rest_, rows_;
};

/// E H by columns, while E changes.
class Pull {
 public:
  /// h [N, N], error [M, N]: must outlive this
  Pull(const Moment& h, const at::Tensor& error);

  /// (E H) of those columns, [M, width], of E as it is.
  at::Tensor columns(int64_t begin, int64_t width) const;
  /// To be called after those columns of E became what they are. before: what they were, [M, width]
  void moved(int64_t begin, int64_t width, const at::Tensor& before);
  /// e H e^T of every row of E as it is, [M] float64. h: no matrix
  at::Tensor costs() const;

 private:
  const Moment& h_;
  const at::Tensor& error_;
  at::Tensor mapped_;  // E X^T [M, r]
};

}  // namespace ctq::linalg
