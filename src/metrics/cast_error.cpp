#include "metrics/cast_error.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include <ATen/ops/to_ops.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

namespace ctq::metrics {
namespace {

/// The E4M3 value nearest to a finite x >= 0. Adding a power of two so large that its last bit is worth one
/// E4M3 step rounds x to such a step, ties to even.
float nearest_e4m3(float x) {
  constexpr float kSmallestNormal = 0x1p-6f;
  const float magnitude = std::min(x, kLargestE4M3);
  const float power = std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) & 0x7F800000u);
  const float anchor = std::max(power, kSmallestNormal) * 0x1p20f;
  return (magnitude + anchor) - anchor;
}

/// All values of a 16-bit type, and the square of each one's error.
struct Levels {
  std::vector<float> value = std::vector<float>(size_t{1} << 16);
  std::vector<double> error_square = std::vector<double>(size_t{1} << 16);
};

template <typename Float16>
const Levels& levels() {
  static const Levels made = [] {
    Levels all;
    for (size_t bits = 0; bits < all.value.size(); ++bits) {
      const float value = static_cast<float>(Float16(static_cast<uint16_t>(bits), Float16::from_bits()));
      all.value[bits] = value;
      if (!std::isfinite(value)) continue;
      const double error = static_cast<double>(nearest_e4m3(std::fabs(value))) - std::fabs(value);
      all.error_square[bits] = error * error;
    }
    return all;
  }();
  return made;
}

/// Counts how often each of the 65,536 values occurs; all figures follow from the counts.
CastStatistics by_counting(std::span<const uint16_t> bits, const Levels& levels) {
  std::vector<uint64_t> counts(levels.value.size());
  for (const uint16_t code : bits) ++counts[code];
  CastStatistics found;
  found.numel = static_cast<int64_t>(bits.size());
  for (size_t code = 0; code < counts.size(); ++code) {
    if (counts[code] == 0) continue;
    const double value = levels.value[code], count = static_cast<double>(counts[code]);
    if (!std::isfinite(value)) {
      found.non_finite += static_cast<int64_t>(counts[code]);
      continue;
    }
    if (std::fabs(value) > kLargestE4M3) found.beyond += static_cast<int64_t>(counts[code]);
    found.max_abs = std::max(found.max_abs, std::fabs(value));
    found.sum += count * value;
    found.sum_squares += count * value * value;
    found.sum_error_squares += count * levels.error_square[code];
  }
  return found;
}

/// Figures of values that come in runs of kLanes, each lane on its own, so that plain loops become vector
/// code.
class Lanes {
 public:
  static constexpr size_t kLanes = 256;

  /// count: at most kLanes
  void add(const float* values, size_t count) {
    std::array<float, kLanes> value{}, error{};
    for (size_t i = 0; i < count; ++i) {
      const float magnitude = std::fabs(values[i]);
      const bool finite = magnitude < std::numeric_limits<float>::infinity();
      value[i] = finite ? values[i] : 0.0f;
      non_finite_[i] += finite ? 0 : 1;
    }
    for (size_t i = 0; i < count; ++i) {
      const float magnitude = std::fabs(value[i]);
      error[i] = nearest_e4m3(magnitude) - magnitude;
      beyond_[i] += magnitude > kLargestE4M3 ? 1 : 0;
      max_abs_[i] = std::max(max_abs_[i], magnitude);
    }
    for (size_t i = 0; i < count; ++i) {
      const double x = value[i], e = error[i];
      sum_[i] += x;
      squares_[i] += x * x;
      error_squares_[i] += e * e;
    }
  }

  CastStatistics total(size_t numel) const {
    CastStatistics found;
    found.numel = static_cast<int64_t>(numel);
    for (size_t i = 0; i < kLanes; ++i) {
      found.sum += sum_[i], found.sum_squares += squares_[i], found.sum_error_squares += error_squares_[i];
      found.max_abs = std::max<double>(found.max_abs, max_abs_[i]);
      found.beyond += beyond_[i], found.non_finite += non_finite_[i];
    }
    return found;
  }

 private:
  std::array<double, kLanes> sum_{}, squares_{}, error_squares_{};
  std::array<float, kLanes> max_abs_{};
  std::array<int32_t, kLanes> beyond_{}, non_finite_{};
};

CastStatistics by_value(std::span<const float> values) {
  Lanes lanes;
  for (size_t at = 0; at < values.size(); at += Lanes::kLanes)
    lanes.add(values.data() + at, std::min(Lanes::kLanes, values.size() - at));
  return lanes.total(values.size());
}

template <typename Element>
std::span<const Element> elements_of(const at::Tensor& values) {
  return {static_cast<const Element*>(values.const_data_ptr()), static_cast<size_t>(values.numel())};
}

}  // namespace

CastStatistics& CastStatistics::operator+=(const CastStatistics& part) {
  numel += part.numel, beyond += part.beyond, non_finite += part.non_finite;
  max_abs = std::max(max_abs, part.max_abs);
  sum += part.sum, sum_squares += part.sum_squares, sum_error_squares += part.sum_error_squares;
  return *this;
}

double CastStatistics::norm() const { return std::sqrt(sum_squares); }

double CastStatistics::deviation() const {
  const auto count = static_cast<double>(numel - non_finite);
  return count < 2 ? 0 : std::sqrt(std::max(0.0, (sum_squares - sum * sum / count) / (count - 1)));
}

double CastStatistics::relative_error() const {
  return sum_squares > 0 ? std::sqrt(sum_error_squares / sum_squares) : 0;
}

CastStatistics cast_statistics(const at::Tensor& values) {
  TORCH_INTERNAL_ASSERT(values.is_cpu() && values.is_contiguous());
  switch (values.scalar_type()) {
    case at::kHalf: return by_counting(elements_of<uint16_t>(values), levels<c10::Half>());
    case at::kBFloat16: return by_counting(elements_of<uint16_t>(values), levels<c10::BFloat16>());
    case at::kFloat: return by_value(elements_of<float>(values));
    default: return by_value(elements_of<float>(values.to(at::kFloat)));
  }
}

}  // namespace ctq::metrics
