#include "metrics/histogram.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <mutex>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

namespace ctq::metrics {
namespace {

constexpr int64_t kChunk = int64_t{1} << 15;        // values at a time and thread, in a second-level cache
constexpr int64_t kDeviceChunk = int64_t{1} << 22;  // values at a time from another device
constexpr float kLargest = std::numeric_limits<float>::max();

/// Calls work(original, decoded, n) for pieces as float32 on the CPU, from several threads.
template <typename Work>
void for_pieces(const at::Tensor& original, const at::Tensor& decoded, const Work& work) {
  const at::Tensor w = original.reshape(-1), d = decoded.reshape(-1);
  const int64_t step = w.is_cpu() ? std::max<int64_t>(w.numel(), 1) : kDeviceChunk;
  for (int64_t start = 0; start < w.numel(); start += step) {
    const int64_t count = std::min(step, w.numel() - start);
    const at::Tensor ws = w.narrow(0, start, count).cpu(), ds = d.narrow(0, start, count).cpu();
    at::parallel_for(0, (count + kChunk - 1) / kChunk, /*grain_size=*/2, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        const int64_t n = std::min(kChunk, count - c * kChunk);
        const at::Tensor wc = ws.narrow(0, c * kChunk, n).to(at::kFloat);
        const at::Tensor dc = ds.narrow(0, c * kChunk, n).to(at::kFloat);
        work(wc.const_data_ptr<float>(), dc.const_data_ptr<float>(), static_cast<size_t>(n));
      }
    });
  }
}

bool is_finite(float x) { return std::abs(x) <= kLargest; }

/// Of finite values; lowest > highest where there are none.
struct Extremes {
  float lowest = kLargest, highest = -kLargest, error = 0;

  void add(const Extremes& part) {
    lowest = std::min(lowest, part.lowest), highest = std::max(highest, part.highest);
    error = std::max(error, part.error);
  }
};

/// Written without branches: two selects each, which compilers turn into vector instructions.
Extremes extremes_of(const float* original, const float* decoded, size_t n) {
  constexpr size_t kLanes = 16;
  std::array<float, kLanes> lowest, highest, error;
  lowest.fill(kLargest), highest.fill(-kLargest), error.fill(0);
  const auto add = [&](size_t i, size_t j) {
    const float w = original[i], d = decoded[i], e = std::abs(d - w);
    const float w_low = is_finite(w) ? w : kLargest, w_high = is_finite(w) ? w : -kLargest;
    const float d_low = is_finite(d) ? d : kLargest, d_high = is_finite(d) ? d : -kLargest;
    const float finite_error = is_finite(e) ? e : 0.0f;
    const float low = w_low < d_low ? w_low : d_low, high = w_high > d_high ? w_high : d_high;
    lowest[j] = low < lowest[j] ? low : lowest[j];
    highest[j] = high > highest[j] ? high : highest[j];
    error[j] = finite_error > error[j] ? finite_error : error[j];
  };
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) add(i + j, j);
  }
  for (; i < n; ++i) add(i, 0);
  return {.lowest = *std::ranges::min_element(lowest),
          .highest = *std::ranges::max_element(highest),
          .error = *std::ranges::max_element(error)};
}

/// Counts of one thread, in several copies: neighbouring values often fall in one bin, and a count cannot be
/// raised again before it is back in the cache.
class Counter {
 public:
  explicit Counter(const Histogram& histogram)
      : bins_(histogram.counts.size()),
        half_low_(static_cast<float>(histogram.low / 2)),
        bins_per_half_(bins_per_half(histogram)),
        counts_(kCopies * (bins_ + 1)) {}

  /// value(i): the i-th of n values, of which the finite ones are within the histogram's range
  template <typename Value>
  void add(size_t n, const Value& value) {
    std::array<int32_t, kBlock> places;
    const auto bins = static_cast<int32_t>(bins_);
    for (size_t begin = 0; begin < n; begin += kBlock) {
      const size_t count = std::min(kBlock, n - begin);
      for (size_t i = 0; i < count; ++i) {
        const float x = value(begin + i) * 0.5f, within = is_finite(x) ? x : half_low_;
        const auto place = static_cast<int32_t>((within - half_low_) * bins_per_half_);
        const int32_t bin = place < bins ? place : bins - 1;
        places[i] = is_finite(x) ? bin : bins;
      }
      for (size_t i = 0; i < count; ++i)
        ++counts_[(i % kCopies) * (bins_ + 1) + static_cast<size_t>(places[i])];
    }
  }

  void add_to(Histogram& histogram) const {
    for (size_t copy = 0; copy < kCopies; ++copy) {
      for (size_t bin = 0; bin < bins_; ++bin) histogram.counts[bin] += counts_[copy * (bins_ + 1) + bin];
    }
  }

 private:
  static constexpr size_t kCopies = 4, kBlock = 512;

  static float bins_per_half(const Histogram& histogram) {
    const double width = (histogram.high - histogram.low) / 2;
    const auto scale = static_cast<float>(static_cast<double>(histogram.counts.size()) / width);
    return is_finite(scale) ? scale : 0.0f;
  }

  size_t bins_;
  float half_low_, bins_per_half_;  ///< halves, so that no difference of two floats overflows
  std::vector<int64_t> counts_;     ///< of each copy the bins, and one for what is in none
};

}  // namespace

WeightHistograms weight_histograms(const at::Tensor& original, const at::Tensor& decoded, int64_t bins) {
  TORCH_INTERNAL_ASSERT(original.sizes() == decoded.sizes() && bins > 0);
  std::mutex mutex;
  Extremes all;
  for_pieces(original, decoded, [&](const float* w, const float* d, size_t n) {
    const Extremes part = extremes_of(w, d, n);
    const std::lock_guard lock(mutex);
    all.add(part);
  });
  const bool any = all.lowest <= all.highest;
  const std::vector<int64_t> none(static_cast<size_t>(bins), 0);
  WeightHistograms result;
  result.original = {any ? all.lowest : 0.0, any ? all.highest : 0.0, none};
  result.decoded = result.original;
  result.error = {0.0 - all.error, all.error, none};
  for_pieces(original, decoded, [&](const float* w, const float* d, size_t n) {
    Counter before(result.original), after(result.decoded), error(result.error);
    before.add(n, [w](size_t i) { return w[i]; });
    after.add(n, [d](size_t i) { return d[i]; });
    error.add(n, [w, d](size_t i) { return d[i] - w[i]; });
    const std::lock_guard lock(mutex);
    before.add_to(result.original), after.add_to(result.decoded), error.add_to(result.error);
  });
  return result;
}

}  // namespace ctq::metrics
