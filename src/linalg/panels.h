// Parallel matrix arithmetic with the same bits for any number of threads.
//
// A BLAS cuts a product by the number of its threads, which changes the order of sums. So work is cut here,
// into panels of a fixed height, and what happens to a panel happens on one thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include "base/cancel.h"

namespace ctq::linalg {

inline constexpr int64_t kPanelRows = 256;

/// While it lives, BLAS and LAPACK use one thread when called from this thread. Without it MKL also in a
/// parallel region acts for as many as LibTorch has asked for.
class OneBlasThread {
 public:
  OneBlasThread();
  ~OneBlasThread();
  OneBlasThread(const OneBlasThread&) = delete;
  OneBlasThread& operator=(const OneBlasThread&) = delete;

 private:
  int before_;
};

/// Calls run(i) for i in [0, count), in parallel, each with one thread of BLAS and LAPACK, at most so many at
/// once. Whoever is free takes the next i. A signal ends it with the exception of throw_if_cancelled().
template <typename Run>
void for_each_on_one_thread(int64_t count, const Run& run,
                            int64_t at_once = std::numeric_limits<int64_t>::max()) {
  std::atomic<int64_t> next = 0;
  at::parallel_for(0, std::min<int64_t>({count, at_once, at::get_num_threads()}), 1, [&](int64_t, int64_t) {
    const OneBlasThread one;
    for (int64_t i = next++; i < count; i = next++) {
      throw_if_cancelled();
      run(i);
    }
  });
}

/// The same for what happens on that device: on a GPU in turn, since every operation is of all of it.
template <typename Run>
void for_each_part(at::Device device, int64_t count, const Run& run,
                   int64_t at_once = std::numeric_limits<int64_t>::max()) {
  if (device.is_cpu()) {
    for_each_on_one_thread(count, run, at_once);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    throw_if_cancelled();
    run(i);
  }
}

/// Calls run(first row, number of rows) for panels of kPanelRows rows.
template <typename Run>
void for_panels(int64_t rows, const Run& run) {
  for_each_on_one_thread((rows + kPanelRows - 1) / kPanelRows, [&](int64_t panel) {
    const int64_t begin = panel * kPanelRows;
    run(begin, std::min(kPanelRows, rows - begin));
  });
}

/// The same for what happens on that device: on a GPU one panel of all rows.
template <typename Run>
void for_panels(at::Device device, int64_t rows, const Run& run) {
  if (device.is_cpu())
    for_panels(rows, run);
  else if (rows > 0)
    run(0, rows);
}

/// a b, [M, K] times [K, N], float32 or float64, any device. On the CPU the same bits for any number of
/// threads.
at::Tensor product(const at::Tensor& a, const at::Tensor& b);

/// Copies what lies above the diagonal of a square matrix below it.
void mirror_upper(at::Tensor& square);

}  // namespace ctq::linalg
