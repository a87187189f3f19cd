#include "calibrate/statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "linalg/cholesky.h"

namespace ctq::calibrate {
namespace {

constexpr int64_t kRowsAtOnce = 4096;            // in float32, for H
constexpr int64_t kElementsAtOnce = 1 << 22;     // in float32, for all else
constexpr uint32_t kHalf = 16, kBins = 1 << 16;  // bits of half a float, and the values they have

/// Calls `look` with the bits of each element's magnitude in float32.
template <typename Look>
void for_each_magnitude(const at::Tensor& x, const Look& look) {
  const at::Tensor flat = x.reshape(-1);
  for (int64_t first = 0; first < flat.numel(); first += kElementsAtOnce) {
    const int64_t size = std::min(kElementsAtOnce, flat.numel() - first);
    const at::Tensor part = flat.narrow(0, first, size).to(at::kFloat).abs();
    const float* values = part.const_data_ptr<float>();
    for (int64_t i = 0; i < size; ++i) look(std::bit_cast<uint32_t>(values[i]));
  }
}

/// The bin that holds the element of that rank, counted from 1; rank becomes its rank within the bin.
uint32_t bin_of(const std::vector<int64_t>& histogram, int64_t& rank) {
  uint32_t bin = 0;
  while (rank > histogram[bin]) rank -= histogram[bin++];
  return bin;
}

}  // namespace

double magnitude_percentile(const at::Tensor& x, double percentile) {
  const auto count = static_cast<double>(x.numel());
  // 99.9 / 100 * 1000 is a little more than 999.
  auto rank = static_cast<int64_t>(std::ceil(percentile / 100 * count * (1 - 1e-12)));
  rank = std::clamp(rank, int64_t{1}, x.numel());
  // Floats that are not negative are in the order of their bits: the upper halves are counted to find the
  // upper half of the one that is sought, then the lower halves below it.
  std::vector<int64_t> upper(kBins), lower(kBins);
  for_each_magnitude(x, [&](uint32_t bits) { ++upper[bits >> kHalf]; });
  const uint32_t high = bin_of(upper, rank);
  for_each_magnitude(x, [&](uint32_t bits) { lower[bits % kBins] += bits >> kHalf == high ? 1 : 0; });
  return std::bit_cast<float>((high << kHalf) | bin_of(lower, rank));
}

InputStatistics measure(const at::Tensor& rows, double percentile) {
  const int64_t width = rows.size(1), at_once = std::max(int64_t{1}, kElementsAtOnce / width);
  at::Tensor sum = at::zeros({width}, at::kDouble), magnitude_sum = at::zeros({width}, at::kDouble);
  at::Tensor largest = at::zeros({width}, at::kFloat);
  for (int64_t first = 0; first < rows.size(0); first += at_once) {
    const at::Tensor part =
        rows.narrow(0, first, std::min(at_once, rows.size(0) - first)).to(at::kFloat).contiguous();
    const at::Tensor magnitudes = part.abs();
    sum.add_(part.sum(at::IntArrayRef{0}, /*keepdim=*/false, at::kDouble));
    magnitude_sum.add_(magnitudes.sum(at::IntArrayRef{0}, /*keepdim=*/false, at::kDouble));
    largest = at::maximum(largest, magnitudes.amax(0));
  }
  const auto count = static_cast<double>(rows.size(0));
  InputStatistics statistics;
  statistics.mean = sum.div_(count).to(at::kFloat);
  statistics.channel_max = largest;
  statistics.channel_mean = magnitude_sum.div_(count).to(at::kFloat);
  statistics.input_scale = magnitude_percentile(rows, percentile) / kInputScaleCode;
  statistics.count = rows.size(0);
  return statistics;
}

at::Tensor second_moment(const at::Tensor& rows) {
  return linalg::gram_by_rows(rows, kRowsAtOnce).div_(static_cast<double>(rows.size(0)));
}

at::Tensor finite_index(const at::Tensor& rows) { return rows.isfinite().all(1).nonzero().squeeze(1); }

at::Tensor finite_rows(const at::Tensor& rows) {
  const at::Tensor finite = finite_index(rows);
  return finite.size(0) == rows.size(0) ? rows : rows.index_select(0, finite);
}

at::Tensor choose_rows(const at::Tensor& rows, int64_t count, uint64_t seed) {
  if (count >= rows.size(0)) return rows;
  // LibTorch's generator takes 32 bits of its seed.
  at::Generator generator = at::detail::createCPUGenerator(seed & 0xFFFFFFFF);
  return rows.index_select(0, at::randperm(rows.size(0), generator, at::kLong).narrow(0, 0, count));
}

}  // namespace ctq::calibrate
