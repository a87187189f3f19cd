// Symmetric matrices of which nothing is not zero but a diagonal, or square blocks on it.
#pragma once

#include <cstdint>
#include <functional>

#include <ATen/core/Tensor.h>

namespace ctq::linalg {

/// D [N, N].
class BlockDiagonal {
 public:
  /// Undefined.
  BlockDiagonal() = default;
  /// values: the diagonal [N], or blocks [N / b, b, b] from the first to the last, each symmetric
  BlockDiagonal(at::Tensor values);

  bool defined() const { return values_.defined(); }
  int64_t size() const { return values_.size(0) * width(); }
  /// b; 1 for a diagonal.
  int64_t width() const { return values_.dim() == 1 ? 1 : values_.size(1); }
  const at::Tensor& values() const { return values_; }
  at::Device device() const { return values_.device(); }

  /// diag(D), [N].
  at::Tensor diagonal() const;
  /// part += the part of D in rows from `row` on and columns from `column` on.
  void add_to(at::Tensor part, int64_t row, int64_t column) const;
  /// Columns [begin, begin + width) of x D, for x [M, N].
  at::Tensor product(const at::Tensor& x, int64_t begin, int64_t width) const;

  /// D + diag(shift). shift: [] or [N]
  BlockDiagonal shifted(const at::Tensor& shift) const;
  /// diag(f)^-1 D diag(f)^-1. factors: f [N]
  BlockDiagonal divided(const at::Tensor& factors) const;
  /// With rows and columns in that order, [N] int64, in which the columns of a block follow each other as
  /// they did.
  BlockDiagonal ordered(const at::Tensor& order) const;
  /// Q D Q^T of a diagonal, Q with blocks of that many columns on its diagonal. turn: x Q^T for x [n, N]
  BlockDiagonal turned(const std::function<at::Tensor(const at::Tensor& x)>& turn, int64_t width) const;

 private:
  at::Tensor values_;
};

}  // namespace ctq::linalg
