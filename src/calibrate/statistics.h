// Statistics of the rows that a layer reads.
#pragma once

#include <cstdint>
#include <optional>

#include <ATen/core/Tensor.h>

namespace ctq::calibrate {

/// What is known of one input X [n, N] besides its rows and X^T X. Undefined tensors: not known.
struct InputStatistics {
  at::Tensor mean;                    ///< of each column, [N] float32
  at::Tensor channel_max;             ///< largest magnitude of each column, [N] float32
  at::Tensor channel_mean;            ///< mean magnitude of each column, [N] float32
  std::optional<double> input_scale;  ///< magnitude that the code 127 shall stand for, over 127
  int64_t count = 0;                  ///< rows that they were taken of
};

/// Code that an input scale of a calibration file is made for: INT8's largest.
inline constexpr double kInputScaleCode = 127;

/// rows        [n, N], any float type, on the CPU; finite; n > 0
/// percentile  of the magnitudes that sets the input scale, in (0, 100]
InputStatistics measure(const at::Tensor& rows, double percentile);

/// The smallest magnitude that at least `percentile` percent of the elements do not exceed (the nearest-rank
/// definition; 100 is the largest). In memory of constant size.
///
/// x           any shape and float type, on the CPU; finite, at least one element
/// percentile  in (0, 100]
double magnitude_percentile(const at::Tensor& x, double percentile);

/// X^T X / n.
///
/// rows     [n, N], any float type and device, n > 0
/// returns  [N, N] float32, exactly symmetric; on the CPU the same bits for any number of threads
at::Tensor second_moment(const at::Tensor& rows);

/// Of rows without NaN and infinities, [m] int64 in their order. rows: [n, N], any float type
at::Tensor finite_index(const at::Tensor& rows);

/// The rows without those that hold a NaN or an infinity; the same tensor when there is none. [n, N].
at::Tensor finite_rows(const at::Tensor& rows);

/// `count` rows, or all when there are fewer: every choice and every order is equally likely, so that any
/// first part is a sample as well. The same seed chooses the same rows. [n, N].
at::Tensor choose_rows(const at::Tensor& rows, int64_t count, uint64_t seed);

}  // namespace ctq::calibrate
