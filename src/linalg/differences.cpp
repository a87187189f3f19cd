#include "linalg/differences.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "linalg/gpu_kernels.h"
#include "linalg/source.h"

namespace ctq::linalg {
namespace {

constexpr int64_t kPiece = int64_t{1} << 22;  // elements in float64 at a time, in ATen operations

/// [pieces, 6], as the kernel has them.
at::Tensor sums_of_pieces(const at::Tensor& original, const at::Tensor& decoded, int64_t piece) {
  std::vector<at::Tensor> all;
  for (int64_t begin = 0; begin < original.numel(); begin += piece) {
    const int64_t n = std::min(piece, original.numel() - begin);
    const at::Tensor w = original.narrow(0, begin, n).to(at::kDouble),
                     d = decoded.narrow(0, begin, n).to(at::kDouble), e = d - w;
    const at::Tensor zeros = (d == 0).logical_and(w != 0).sum().to(at::kDouble);
    all.push_back(at::stack({e.sum(), e.square().sum(), w.sum(), w.square().sum(), e.abs().max(), zeros}));
  }
  return at::stack(all);
}

}  // namespace

std::vector<DifferenceSums> difference_sums(const at::Tensor& original, const at::Tensor& decoded) {
  const auto flat = [](const at::Tensor& x) {
    return (x.element_size() > 1 ? x : x.to(at::kFloat)).reshape(-1).contiguous();
  };
  const at::Tensor w = flat(original), d = flat(decoded);
  const int64_t n = w.numel();
  if (n == 0) return {};
  const gpu::Kernels* kernels = gpu_kernels(w.device());
  const int64_t piece = kernels ? gpu::difference_piece(n) : kPiece;
  at::Tensor sums;
  if (kernels) {
    check_device(w.device(), {d});
    sums = at::empty({gpu::kDifferencePieces, gpu::kDifferenceSums}, w.options().dtype(at::kDouble));
    check_launch(*kernels,
                 kernels->differences(source_of(w), w.const_data_ptr(), source_of(d), d.const_data_ptr(), n,
                                      sums.mutable_data_ptr<double>(), gpu_queue(w.device())));
  } else {
    sums = sums_of_pieces(w, d, piece);
  }
  const at::Tensor here = sums.cpu();
  const auto* row = here.const_data_ptr<double>();
  std::vector<DifferenceSums> pieces;
  for (int64_t begin = 0; begin < n; begin += piece, row += gpu::kDifferenceSums)
    pieces.push_back({.errors = row[0],
                      .error_squares = row[1],
                      .weights = row[2],
                      .weight_squares = row[3],
                      .max_error = row[4],
                      .to_zero = static_cast<int64_t>(row[5]),
                      .numel = std::min(piece, n - begin)});
  return pieces;
}

}  // namespace ctq::linalg
