#include "linalg/moment.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "linalg/cholesky.h"
#include "linalg/conjugate.h"
#include "linalg/panels.h"
#include "linalg/sparse_product.h"
#include "linalg/svd.h"

namespace ctq::linalg {
namespace {

constexpr uint64_t kLeadingSeed = 1;
constexpr double kWorthwhile = 0.4;  // of the columns

}  // namespace

bool worth_samples(int64_t rows, int64_t columns) {
  return columns >= kSamplesFrom && static_cast<double>(rows) <= kWorthwhile * static_cast<double>(columns);
}

Moment Moment::with_diagonal(const at::Tensor& diagonal, const at::Tensor& rows) {
  return {(diagonal - rows.square().sum(0)).clamp_min_(0), rows};
}

at::Tensor Moment::diagonal() const {
  return is_matrix() ? matrix_.diagonal() : rows_.square().sum(0).add_(rest_.diagonal());
}

at::Tensor Moment::matrix() const {
  if (is_matrix()) return matrix_;
  const at::Tensor matrix = gram(rows_);
  rest_.add_to(matrix, 0, 0);
  return matrix;
}

at::Tensor Moment::block(int64_t row, int64_t height, int64_t column, int64_t width) const {
  if (is_matrix()) return matrix_.narrow(0, row, height).narrow(1, column, width);
  const at::Tensor block = at::mm(rows_.narrow(1, row, height).t(), rows_.narrow(1, column, width));
  rest_.add_to(block, row, column);
  return block;
}

at::Tensor Moment::blocks(int64_t width) const {
  const int64_t count = (size() + width - 1) / width, lacking = count * width - size();
  if (is_matrix() && lacking == 0) {
    const at::Tensor cut = matrix_.unflatten(0, {count, width}).unflatten(2, {count, width});
    return cut.diagonal(0, 0, 2).permute({2, 0, 1}).contiguous();
  }
  if (is_matrix() || rest_.width() > 1) {
    at::Tensor result = at::zeros({count, width, width}, (is_matrix() ? matrix_ : rows_).options());
    for (int64_t i = 0; i < count; ++i) {
      const int64_t cols = std::min(width, size() - i * width);
      result.select(0, i)
          .narrow(0, 0, cols)
          .narrow(1, 0, cols)
          .copy_(block(i * width, cols, i * width, cols));
    }
    return result;
  }
  const auto padded = [&](const at::Tensor& x) { return at::constant_pad_nd(x, {0, lacking}); };
  const at::Tensor x = padded(rows_).view({-1, count, width}).permute({1, 0, 2});  // [count, r, width]
  at::Tensor result = at::bmm(x.transpose(1, 2), x);
  result.diagonal(0, 1, 2).add_(padded(rest_.diagonal()).view({count, width}));
  return result;
}

Moment Moment::turned(const std::function<at::Tensor(const at::Tensor& x)>& turn, int64_t block) const {
  if (is_matrix() || rest_.width() > 1) return conjugate(matrix(), turn);
  const at::Tensor& rest = rest_.values();
  if (rest.eq(rest.select(0, 0)).all().item<bool>()) return {rest_, turn(rows_)};
  if (!stays_in_samples(block)) return conjugate(matrix(), turn);
  return {rest_.turned(turn, block), turn(rows_)};
}

Moment Moment::leading(int64_t most_rows) const {
  if (is_matrix() || rows_.size(0) <= most_rows) return *this;
  const at::Tensor rows =
      low_rank_of_gram(rows_, most_rows, at::make_generator<at::CPUGeneratorImpl>(kLeadingSeed));
  const at::Tensor left = rows_.square().sum(0).sub_(rows.square().sum(0)).clamp_min_(0);
  return {rest_.shifted(left), rows};
}

Moment Moment::by_columns() const {
  return is_matrix() || !rows_.is_cpu() ? *this : Moment(rest_, with_columns_apart(rows_));
}

Moment Moment::divided(const at::Tensor& factors) const {
  if (!is_matrix()) return {rest_.divided(factors), rows_ / factors};
  return (matrix_ / factors).div_(factors.unsqueeze(1));
}

Moment Moment::shifted(const at::Tensor& shift) const {
  if (!is_matrix()) return {rest_.shifted(shift), rows_};
  at::Tensor matrix = matrix_.clone();
  matrix.diagonal().add_(shift);
  return matrix;
}

Pull::Pull(const Moment& h, const at::Tensor& error, const at::Tensor& mapped)
    : h_(h), error_(error), mapped_(mapped) {
  if (!h.is_matrix() && !mapped_.defined()) mapped_ = at::mm(error, h.rows().t());
}

at::Tensor Pull::columns(int64_t begin, int64_t width) const {
  if (h_.is_matrix()) return at::mm(error_, h_.block(0, h_.size(), begin, width));
  return at::mm(mapped_, h_.rows().narrow(1, begin, width)).add_(h_.rest().product(error_, begin, width));
}

void Pull::moved(int64_t begin, const at::Tensor& change) {
  if (h_.is_matrix()) return;
  add_product(mapped_, change, h_.rows().narrow(1, begin, change.size(1)).t());
}

at::Tensor Pull::costs() const {
  TORCH_INTERNAL_ASSERT(!h_.is_matrix());
  return mapped_.square().sum(1, /*keepdim=*/false, at::kDouble) +
         (error_ * h_.rest().product(error_, 0, h_.size())).sum(1, /*keepdim=*/false, at::kDouble);
}

}  // namespace ctq::linalg
