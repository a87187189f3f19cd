#include "linalg/block_diagonal.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

namespace ctq::linalg {

BlockDiagonal::BlockDiagonal(at::Tensor values) : values_(std::move(values)) {
  TORCH_INTERNAL_ASSERT(values_.dim() == 1 || (values_.dim() == 3 && values_.size(1) == values_.size(2)));
}

at::Tensor BlockDiagonal::diagonal() const {
  return values_.dim() == 1 ? values_ : values_.diagonal(0, 1, 2).reshape({-1});
}

void BlockDiagonal::add_to(at::Tensor part, int64_t row, int64_t column) const {
  const int64_t first = std::max(row, column),
                last = std::min(row + part.size(0), column + part.size(1));  // on the diagonal
  if (values_.dim() == 1) {
    if (last <= first) return;
    part.narrow(0, first - row, last - first)
        .narrow(1, first - column, last - first)
        .diagonal()
        .add_(values_.narrow(0, first, last - first));
    return;
  }
  const int64_t b = width();
  if (row == column && row % b == 0 && part.size(0) == part.size(1) && part.size(0) % b == 0) {
    const int64_t count = part.size(0) / b;
    part.unflatten(0, {count, b})
        .unflatten(2, {count, b})
        .diagonal(0, 0, 2)
        .add_(values_.narrow(0, row / b, count).permute({1, 2, 0}));
    return;
  }
  for (int64_t i = row / b; i * b < row + part.size(0); ++i) {
    const int64_t up = std::max(i * b, row), down = std::min((i + 1) * b, row + part.size(0)),
                  left = std::max(i * b, column), right = std::min((i + 1) * b, column + part.size(1));
    if (right <= left) continue;
    part.narrow(0, up - row, down - up)
        .narrow(1, left - column, right - left)
        .add_(values_[i].narrow(0, up - i * b, down - up).narrow(1, left - i * b, right - left));
  }
}

at::Tensor BlockDiagonal::product(const at::Tensor& x, int64_t begin, int64_t width) const {
  if (values_.dim() == 1) return x.narrow(1, begin, width) * values_.narrow(0, begin, width);
  const int64_t b = this->width();
  if (!x.is_cpu() && begin % b == 0 && width % b == 0) {  // one operation in place of many
    const int64_t count = width / b;
    const at::Tensor columns = x.narrow(1, begin, width).unflatten(1, {count, b}).transpose(0, 1);
    return at::bmm(columns, values_.narrow(0, begin / b, count)).transpose(0, 1).reshape({x.size(0), width});
  }
  at::Tensor result = at::empty({x.size(0), width}, x.options());
  for (int64_t i = begin / b; i * b < begin + width; ++i) {
    const int64_t left = std::max(i * b, begin), right = std::min((i + 1) * b, begin + width);
    at::Tensor columns = result.narrow(1, left - begin, right - left);
    columns.copy_(at::mm(x.narrow(1, i * b, b), values_[i].narrow(1, left - i * b, right - left)));
  }
  return result;
}

BlockDiagonal BlockDiagonal::shifted(const at::Tensor& shift) const {
  if (values_.dim() == 1) return values_ + shift;
  at::Tensor values = values_.clone();
  at::Tensor on_diagonal = values.diagonal(0, 1, 2);
  on_diagonal.add_(shift.dim() == 0 ? shift : shift.reshape({-1, width()}));
  return values;
}

BlockDiagonal BlockDiagonal::divided(const at::Tensor& factors) const {
  if (values_.dim() == 1) return values_ / factors.square();
  const at::Tensor of_block = factors.reshape({-1, width()});
  return values_ / of_block.unsqueeze(1) / of_block.unsqueeze(2);
}

BlockDiagonal BlockDiagonal::ordered(const at::Tensor& order) const {
  if (values_.dim() == 1) return values_.index_select(0, order);
  return values_.index_select(0, order.reshape({-1, width()}).select(1, 0).floor_divide(width()));
}

BlockDiagonal BlockDiagonal::turned(const std::function<at::Tensor(const at::Tensor& x)>& turn,
                                    int64_t width) const {
  TORCH_INTERNAL_ASSERT(values_.dim() == 1);
  const int64_t count = size() / width;
  // Blocks side by side, so that rows of N turn by blocks.
  const auto rows_turned = [&](const at::Tensor& blocks) {
    const at::Tensor rows = blocks.transpose(0, 1).reshape({width, count * width});
    return turn(rows).reshape({width, count, width}).transpose(0, 1);
  };
  const at::Tensor half = rows_turned(at::diag_embed(values_.reshape({count, width})));
  return rows_turned(half.transpose(1, 2)).contiguous();
}

}  // namespace ctq::linalg
