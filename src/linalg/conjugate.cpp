#include "linalg/conjugate.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace ctq::linalg {
namespace {

constexpr int64_t kRows = 1024;  // turned at a time

}  // namespace

at::Tensor conjugate(const at::Tensor& h, const std::function<at::Tensor(const at::Tensor& x)>& turn) {
  const int64_t size = h.size(0);
  at::Tensor result = at::empty_like(h, at::MemoryFormat::Contiguous);
  for (int64_t row = 0; row < size; row += kRows) {
    const int64_t rows = std::min(kRows, size - row);
    result.narrow(0, row, rows).copy_(turn(h.narrow(0, row, rows)));
  }
  // The columns of H Q^T are the rows of Q H: what is left is the same from the other side.
  for (int64_t column = 0; column < size; column += kRows) {
    at::Tensor columns = result.narrow(1, column, std::min(kRows, size - column));
    columns.copy_(turn(columns.t().contiguous()).t());
  }
  return result;
}

}  // namespace ctq::linalg
