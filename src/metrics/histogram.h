// How the values of a weight are spread before and after quantization.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace ctq::metrics {

/// Bins of equal width from `low` to `high`. A value on an inner edge counts in the upper bin, `high` in the
/// last; where low = high all count in the first.
struct Histogram {
  double low = 0;
  double high = 0;
  std::vector<int64_t> counts;  ///< by bin; values that are NaN or infinite are in none

  bool operator==(const Histogram&) const = default;
};

/// original and decoded have one range: from the smallest to the largest value of both. That of the error
/// (decoded - original) is the largest magnitude to both sides of 0.
struct WeightHistograms {
  Histogram original, decoded, error;

  bool operator==(const WeightHistograms&) const = default;
};

inline constexpr int64_t kHistogramBins = 64;

/// original, decoded: same shape and device, any float types, counted as float32
/// bins      at least 1
/// returns   the same for any number of threads; two reads of the data
WeightHistograms weight_histograms(const at::Tensor& original, const at::Tensor& decoded,
                                   int64_t bins = kHistogramBins);

}  // namespace ctq::metrics
