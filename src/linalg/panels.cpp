#include "linalg/panels.h"

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

}  // namespace ctq::linalg
