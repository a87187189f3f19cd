// What a plain cast to FP8 does to values: FP8 without a scale, as some text encoders are stored.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace ctq::metrics {

/// Figures of values and of their nearest float8_e4m3fn (ties to even, magnitudes above 448 become 448).
/// Sums, so that those of parts add up to those of the whole. Values that are NaN or infinite are counted and
/// left out of everything else but `numel`.
struct CastStatistics {
  int64_t numel = 0;
  int64_t beyond = 0;  ///< magnitudes above 448
  int64_t non_finite = 0;
  double max_abs = 0;
  double sum = 0;
  double sum_squares = 0;
  double sum_error_squares = 0;  ///< of (cast - value)

  CastStatistics& operator+=(const CastStatistics& part);
  double norm() const;            ///< Frobenius
  double deviation() const;       ///< standard deviation, unbiased; 0 for less than two values
  double relative_error() const;  ///< ||cast - value|| / ||value||; 0 where all values are 0
};

inline constexpr float kLargestE4M3 = 448.0f;

/// values: any shape, float64, float32, float16 or bfloat16, on the CPU, contiguous. One read of the data, on
/// the calling thread; float64 is taken as what it rounds to in float32.
CastStatistics cast_statistics(const at::Tensor& values);

}  // namespace ctq::metrics
