// Which of several scales suits a run of columns best.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "linalg/code.h"
#include "linalg/moment.h"

namespace ctq::linalg {

/// The widest run that search_scales() takes.
inline constexpr int64_t kMaxSearchedRun = 128;

/// Whether there is a kernel for runs of so many columns of this weight.
bool searches_runs(const at::Tensor& weight, int64_t run);

struct SearchedScales {
  at::Tensor scale;   ///< [M, across] float32, one of the candidates each
  at::Tensor values;  ///< [M, N] float32, nearest values of the grid for it
};

/// For every run of `run` columns of a row the scale s with the least e H_JJ e^T, e = nearest(w / s) s - w,
/// H_JJ the block of H that belongs to the run's columns; of several the first. Where s is 0 the values are
/// 0.
///
/// weight      [M, N] float32; the last run may be narrower
/// run         searches_runs()
/// candidates  [count, M, across] float32, count > 0, across = N / run rounded up
/// h           [N, N] float32; undefined: the identity
/// All on one device. The same bits on every instruction set, for any number of threads, and on a GPU where H
/// is a matrix.
SearchedScales search_scales(const at::Tensor& weight, int64_t run, Code code, const at::Tensor& candidates,
                             const Moment& h);

}  // namespace ctq::linalg
