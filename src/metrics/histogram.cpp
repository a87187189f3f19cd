#include "ctq/metrics/histogram.h"

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

Extremes extremes_of(const float* original, const float* decoded, size_t n) {
  constexpr size_t kLanes = 8;  // independent, so that the compiler may put them side by side
  std::array<Extremes, kLanes> lanes;
  const auto add = [&](size_t i, Extremes& lane) {
    const float w = original[i], d = decoded[i], e = std::abs(d - w);
    for (const float x : {w, d}) {
      const bool finite = is_finite(x);
      lane.lowest = finite && x < lane.lowest ? x : lane.lowest;
      lane.highest = finite && x > lane.highest ? x : lane.highest;
    }
    lane.error = is_finite(e) && e > lane.error ? e : lane.error;
  };
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) add(i + j, lanes[j]);
  }
  for (; i < n; ++i) add(i, lanes[0]);
  for (size_t j = 1; j < kLanes; ++j) lanes[0].add(lanes[j]);
  return lanes[0];
}

/// Counts of one thread, in several copies: neighbouring values often fall in one bin, and a count cannot be
/// raised again before it is back in the cache.
class Counter {
 public:
  explicit Counter(const Histogram& histogram)
      : bins_(histogram.counts.size()),
        low_(static_cast<float>(histogram.low)),
        scale_(histogram.high > histogram.low
                   ? static_cast<float>(static_cast<double>(bins_) / (histogram.high - histogram.low))
                   : 0.0f),
        counts_(kCopies * (bins_ + 1)) {}

  /// value(i): the i-th of n values
  template <typename Value>
  void add(size_t n, const Value& value) {
    std::array<int32_t, kBlock> places;
    const float last = static_cast<float>(bins_ - 1);
    for (size_t begin = 0; begin < n; begin += kBlock) {
      const size_t count = std::min(kBlock, n - begin);
      for (size_t i = 0; i < count; ++i) {
        const float x = value(begin + i), place = (x - low_) * scale_;
        const float within = place > 0 ? (place < last ? place : last) : 0.0f;
        places[i] = static_cast<int32_t>(is_finite(x) ? within : last + 1);
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
  size_t bins_;
  float low_, scale_;
  std::vector<int64_t> counts_;  ///< of each copy the bins, and one for what is in none
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
