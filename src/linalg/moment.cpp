#include "linalg/moment.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "linalg/cholesky.h"
#include "linalg/panels.h"

namespace ctq::linalg {
namespace {

/// A panel's work happens on the thread that has it.
at::Tensor product_of_panel(const at::Tensor& a, const at::Tensor& b) {
  return a.is_cpu() && a.size(0) > kPanelRows ? product(a, b) : at::mm(a, b);
}

}  // namespace

at::Tensor Moment::diagonal() const {
  return is_matrix() ? matrix_.diagonal() : rows_.square().sum(0).add_(rest_);
}

at::Tensor Moment::matrix() const {
  if (is_matrix()) return matrix_;
  at::Tensor matrix = gram(rows_);
  matrix.diagonal().add_(rest_);
  return matrix;
}

at::Tensor Moment::block(int64_t row, int64_t height, int64_t column, int64_t width) const {
  if (is_matrix()) return matrix_.narrow(0, row, height).narrow(1, column, width);
  at::Tensor block = at::mm(rows_.narrow(1, row, height).t(), rows_.narrow(1, column, width));
  const int64_t begin = std::max(row, column), shared = std::min(row + height, column + width) - begin;
  if (shared > 0)
    block.narrow(0, begin - row, shared)
        .narrow(1, begin - column, shared)
        .diagonal()
        .add_(rest_.narrow(0, begin, shared));
  return block;
}

Moment Moment::divided(const at::Tensor& factors) const {
  if (!is_matrix()) return {rest_ / factors.square(), rows_ / factors};
  return (matrix_ / factors).div_(factors.unsqueeze(1));
}

Moment Moment::shifted(const at::Tensor& shift) const {
  if (!is_matrix()) return {rest_ + shift, rows_};
  at::Tensor matrix = matrix_.clone();
  matrix.diagonal().add_(shift);
  return matrix;
}

Pull::Pull(const Moment& h, const at::Tensor& error) : h_(h), error_(error) {
  if (!h.is_matrix()) mapped_ = product_of_panel(error, h.rows().t());
}

at::Tensor Pull::columns(int64_t begin, int64_t width) const {
  if (h_.is_matrix()) return product_of_panel(error_, h_.block(0, h_.size(), begin, width));
  return product_of_panel(mapped_, h_.rows().narrow(1, begin, width))
      .add_(error_.narrow(1, begin, width) * h_.rest().narrow(0, begin, width));
}

void Pull::moved(int64_t begin, int64_t width, const at::Tensor& before) {
  if (h_.is_matrix()) return;
  mapped_.add_(
      product_of_panel(error_.narrow(1, begin, width) - before, h_.rows().narrow(1, begin, width).t()));
}

at::Tensor Pull::costs() const {
  TORCH_INTERNAL_ASSERT(!h_.is_matrix());
  return mapped_.square().sum(1, /*keepdim=*/false, at::kDouble) +
         (error_.square() * h_.rest()).sum(1, /*keepdim=*/false, at::kDouble);
}

}  // namespace ctq::linalg
