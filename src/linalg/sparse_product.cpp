#include "linalg/sparse_product.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/ATen.h>

#include "linalg/kernels/cpu/ldlq_kernels.h"
#include "linalg/panels.h"

namespace ctq::linalg {
namespace {

constexpr int64_t kSparse = 6;      // one of so many elements at most is not zero
constexpr int64_t kApart = 16;      // floats, a cache line
constexpr int64_t kTurned = 64;     // columns that are turned at a time
constexpr int64_t kNarrowest = 64;  // columns of b below which a product by a BLAS costs little

/// What is not zero, row by row.
struct Changes {
  std::vector<int64_t> begins;
  std::vector<int32_t> columns;
  std::vector<float> amounts;
};

/// Nothing where there are too many.
std::optional<Changes> changes_of(const at::Tensor& a) {
  const int64_t rows = a.size(0), cols = a.size(1);
  const size_t most = static_cast<size_t>(a.numel() / kSparse);
  Changes changes;
  changes.begins.reserve(static_cast<size_t>(rows) + 1);
  changes.begins.push_back(0);
  for (int64_t row = 0; row < rows; ++row) {
    const float* const values = a.const_data_ptr<float>() + row * a.stride(0);
    for (int64_t col = 0; col < cols; ++col) {
      if (values[col] == 0) continue;
      changes.columns.push_back(static_cast<int32_t>(col));
      changes.amounts.push_back(values[col]);
    }
    if (changes.columns.size() > most) return std::nullopt;
    changes.begins.push_back(static_cast<int64_t>(changes.columns.size()));
  }
  return changes;
}

}  // namespace

at::Tensor with_columns_apart(const at::Tensor& x) {
  const int64_t columns = x.size(1);
  at::Tensor apart = at::empty({columns, x.size(0) + kApart}, x.options()).narrow(1, 0, x.size(0));
  for_each_part(x.device(), (columns + kTurned - 1) / kTurned, [&](int64_t i) {
    const int64_t begin = i * kTurned, width = std::min(kTurned, columns - begin);
    apart.narrow(0, begin, width).copy_(x.narrow(1, begin, width).t().contiguous());
  });
  return apart.t();
}

void add_product(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b) {
  const bool has_kernel = a.is_cpu() && a.scalar_type() == at::kFloat && a.stride(1) == 1 &&
                          b.stride(1) == 1 && sum.stride(1) == 1 && b.size(1) >= kNarrowest;
  const std::optional<Changes> changes = has_kernel ? changes_of(a) : std::nullopt;
  if (!changes) {
    sum.addmm_(a, b);
    return;
  }
  cpu::ldlq_kernels().add_sparse({.rows = a.size(0),
                                  .begins = changes->begins.data(),
                                  .columns = changes->columns.data(),
                                  .amounts = changes->amounts.data()},
                                 {b.const_data_ptr<float>(), b.stride(0), 1}, b.size(1),
                                 {sum.mutable_data_ptr<float>(), sum.stride(0), 1});
}

}  // namespace ctq::linalg
