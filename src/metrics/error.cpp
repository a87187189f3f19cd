#include "metrics/error.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "linalg/differences.h"
#include "metrics/error_sum.h"

namespace ctq::metrics {
namespace {

// Elements whose sums are formed together. Fixed, so that no sum depends on the number of threads; two chunks
// in float64 fit in a second-level cache.
constexpr int64_t kChunk = int64_t{1} << 15;

using ChunkSums = linalg::DifferenceSums;

template <typename T>
ChunkSums sums_of(const T* original, const T* decoded, size_t n) {
  constexpr size_t kLanes = 4;  // independent partial sums, as many as fit in the registers of any machine
  double errors[kLanes] = {}, error_squares[kLanes] = {}, weights[kLanes] = {}, weight_squares[kLanes] = {},
         most[kLanes] = {};
  int64_t zeros[kLanes] = {};
  const auto add = [&](size_t i, size_t j) {
    const double weight = static_cast<double>(original[i]), error = static_cast<double>(decoded[i]) - weight;
    const double magnitude = std::abs(error);
    errors[j] += error;
    error_squares[j] += error * error;
    weights[j] += weight;
    weight_squares[j] += weight * weight;
    most[j] = magnitude > most[j] ? magnitude : most[j];
    zeros[j] += decoded[i] == 0 && original[i] != 0 ? 1 : 0;
  };
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) add(i + j, j);
  }
  for (; i < n; ++i) add(i, 0);
  const auto sum = [](const double(&lanes)[kLanes]) {
    return std::accumulate(std::begin(lanes), std::end(lanes), 0.0);
  };
  return {.errors = sum(errors),
          .error_squares = sum(error_squares),
          .weights = sum(weights),
          .weight_squares = sum(weight_squares),
          .max_error = *std::max_element(std::begin(most), std::end(most)),
          .to_zero = std::accumulate(std::begin(zeros), std::end(zeros), int64_t{0}),
          .numel = static_cast<int64_t>(n)};
}

ChunkSums sums_on_cpu(const at::Tensor& original, const at::Tensor& decoded) {
  const auto run = [&]<typename T>(at::ScalarType type, T) {
    const at::Tensor w = original.to(type), d = decoded.to(type);
    return sums_of(w.const_data_ptr<T>(), d.const_data_ptr<T>(), static_cast<size_t>(w.numel()));
  };
  const bool wide = original.scalar_type() == at::kDouble || decoded.scalar_type() == at::kDouble;
  return wide ? run(at::kDouble, double{})
              : run(at::kFloat, float{});  // float32 holds every other type exactly
}

std::vector<ChunkSums> chunk_sums(const at::Tensor& original, const at::Tensor& decoded) {
  if (!original.is_cpu()) return linalg::difference_sums(original, decoded);
  const at::Tensor w = original.reshape(-1), d = decoded.reshape(-1);
  const int64_t chunks = (w.numel() + kChunk - 1) / kChunk;
  std::vector<ChunkSums> parts(static_cast<size_t>(chunks));
  at::parallel_for(0, chunks, /*grain_size=*/2, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      const int64_t start = c * kChunk, n = std::min(kChunk, w.numel() - start);
      parts[static_cast<size_t>(c)] = sums_on_cpu(w.narrow(0, start, n), d.narrow(0, start, n));
    }
  });
  return parts;
}

int64_t rows_to_zero(const at::Tensor& original, const at::Tensor& decoded) {
  const at::Tensor empty = (decoded.amax(1) == 0).logical_and(decoded.amin(1) == 0);
  if (!empty.any().item<bool>()) return 0;
  return original.index({empty}).any(1).sum().item<int64_t>();
}

}  // namespace

void Moments::add(double part_n, double sum, double sum_of_squares) {
  const double part_mean = sum / part_n, gap = part_mean - mean, together = n + part_n;
  squares += std::max(0.0, sum_of_squares - sum * part_mean) + gap * gap * n * part_n / together;
  mean += gap * part_n / together;
  n = together;
}

void WeightErrorSum::add(const at::Tensor& original, const at::Tensor& decoded) {
  TORCH_INTERNAL_ASSERT(original.sizes() == decoded.sizes());
  if (original.numel() == 0) return;
  numel_ += original.numel();
  double error_squares = 0;
  int64_t to_zero = 0;
  for (const ChunkSums& part : chunk_sums(original, decoded)) {
    const double n = static_cast<double>(part.numel);
    error_squares += part.error_squares;
    weight_squares_ += part.weight_squares;
    error_.add(n, part.errors, part.error_squares);
    weight_.add(n, part.weights, part.weight_squares);
    max_error_ = std::max(max_error_, part.max_error);
    to_zero += part.to_zero;
  }
  to_zero_ += to_zero;
  if (to_zero > 0 && original.dim() == 2) rows_to_zero_ += rows_to_zero(original, decoded);
  error_squares_ += error_squares;
  if (!std::isfinite(error_squares)) non_finite_ += decoded.isfinite().logical_not().sum().item<int64_t>();
}

WeightError WeightErrorSum::error() const {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  WeightError result;
  result.numel = numel_;
  result.non_finite = non_finite_;
  result.to_zero = to_zero_;
  result.rows_to_zero = rows_to_zero_;
  result.sqnr_db = result.variance_db = kInfinity;
  if (numel_ == 0) return result;
  if (non_finite_ > 0 || std::isnan(error_squares_)) {
    result.mse = result.max_error = result.sqnr_db = result.weight_rel = result.variance_db = kNaN;
    return result;
  }
  result.max_error = max_error_;
  result.mse = error_squares_ / static_cast<double>(numel_);
  if (error_squares_ > 0) result.weight_rel = std::sqrt(error_squares_ / weight_squares_);
  result.sqnr_db = -20 * std::log10(result.weight_rel);
  // The divisors n - 1 of the two variances cancel.
  if (error_.squares > 0) result.variance_db = 10 * std::log10(weight_.squares / error_.squares);
  return result;
}

WeightError weight_error(const at::Tensor& original, const at::Tensor& decoded) {
  WeightErrorSum sum;
  sum.add(original, decoded);
  return sum.error();
}

double output_rel(const at::Tensor& x, const at::Tensor& original, const at::Tensor& decoded) {
  constexpr int64_t kRows = 2048;  // of the weight, in float32
  double missed = 0, whole = 0;
  for (int64_t row = 0; row < original.size(0); row += kRows) {
    const int64_t count = std::min(kRows, original.size(0) - row);
    const at::Tensor weight = original.narrow(0, row, count).to(at::kFloat);
    const at::Tensor error = decoded.narrow(0, row, count).to(at::kFloat) - weight;
    const at::Tensor output = x.mm(weight.t());
    missed += x.mm(error.t()).square().sum(at::kDouble).item<double>();
    whole += (output - output.mean(0)).square().sum(at::kDouble).item<double>();
  }
  return missed > 0 ? std::sqrt(missed / whole) : 0;
}

}  // namespace ctq::metrics
