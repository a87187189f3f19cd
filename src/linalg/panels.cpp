#include "linalg/panels.h"

#include <ATen/ATen.h>

#include "linalg/bf16.h"

// Of the MKL inside LibTorch; null in a LibTorch built with another BLAS. Returns what it was; 0 is "as for
// all threads".
extern "C" __attribute__((weak)) int MKL_Set_Num_Threads_Local(int threads);

namespace ctq::linalg {
namespace {

int set_blas_threads(int threads) {
  return MKL_Set_Num_Threads_Local == nullptr ? 0 : MKL_Set_Num_Threads_Local(threads);
}

}  // namespace

OneBlasThread::OneBlasThread() : before_(set_blas_threads(1)) {}
OneBlasThread::~OneBlasThread() { set_blas_threads(before_); }

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  if (!a.is_cpu()) return product_uses_bf16(a, b) ? bf16_product(a, b) : at::mm(a, b);
  at::Tensor result = at::empty({a.size(0), b.size(1)}, a.options());
  for_panels(a.size(0), [&](int64_t row, int64_t rows) {
    at::Tensor panel = result.narrow(0, row, rows);
    at::mm_out(panel, a.narrow(0, row, rows), b);
  });
  return result;
}

void mirror_upper(at::Tensor& square) {
  if (!square.is_cpu()) {
    square.copy_(square.triu().add_(square.triu(1).t()));
    return;
  }
  const int64_t size = square.size(0);
  for_panels(size, [&](int64_t begin, int64_t rows) {
    at::Tensor corner = square.narrow(0, begin, rows).narrow(1, begin, rows);
    corner.copy_(corner.triu().add_(corner.triu(1).t()));
    const at::Tensor above = square.narrow(0, 0, begin).narrow(1, begin, rows);
    square.narrow(0, begin, rows).narrow(1, 0, begin).copy_(above.t());
  });
}

}  // namespace ctq::linalg
