#include "sampled_error.h"

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>

namespace ctq::pipeline {
namespace {

metrics::Squares squares_of(const at::Tensor& weight, const format::Encoded& encoded,
                            const at::Tensor& factors) {
  constexpr int64_t kStrips = 8;
  const int64_t rows = weight.size(0);
  const int64_t height = encoded.codec->granularity == format::Granularity::kBlock
                             ? std::max<int64_t>(encoded.block_size, 1)
                             : 1;
  const int64_t tiles = (rows + height - 1) / height;
  const int64_t sampled = std::max<int64_t>(tiles / kRowsPerSample, 1);
  const int64_t strips = std::min(kStrips, sampled), thickness = sampled / strips;
  std::vector<at::Tensor> originals;
  std::vector<format::RowRange> ranges;
  for (int64_t strip = 0; strip < strips; ++strip) {
    const int64_t first = (2 * strip + 1) * (tiles - thickness) / (2 * strips) * height;
    const int64_t count = std::min(thickness * height, rows - first);
    originals.push_back(weight.narrow(0, first, count));
    ranges.push_back({first, count});
  }
  // As one: on a GPU the host waits for every sum.
  at::Tensor original = at::cat(originals), decoded = format::decode(format::rows_of(encoded, ranges));
  if (factors.defined()) original = original * factors, decoded = decoded * factors;
  metrics::WeightErrorSum sum;
  sum.add(original, decoded);
  return sum.squares() * (static_cast<double>(rows) / static_cast<double>(original.size(0)));
}

}  // namespace

metrics::Squares sampled_squares(std::span<const at::Tensor> weights,
                                 std::span<const format::Encoded> encoded, const at::Tensor& factors) {
  metrics::Squares all;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (encoded[i].sign_row.defined() || weights[i].numel() == 0) continue;
    all += squares_of(weights[i], encoded[i], factors);
  }
  return all;
}

}  // namespace ctq::pipeline
