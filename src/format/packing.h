// What differs between formats on the way into a file and back.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "format/codec.h"
#include "linalg/panels.h"

namespace ctq::format {

struct Packing {
  /// As the functions of codec.h that call them.
  std::vector<StoredTensor> (*stored)(const Codec& codec, int64_t out_features, int64_t in_features,
                                      int64_t block_size);
  std::vector<at::Tensor> (*pack)(const Encoded& encoded);
  /// Fills in codes, scales and outer_scale of the rest. stored: checked already
  void (*unpack)(const std::vector<at::Tensor>& stored, int64_t out_features, int64_t in_features,
                 Encoded& encoded);
  /// Fills in all but what is given to encode_nearest(), for scales that no ScaleRule gives; null: by
  /// linalg::quantize_tiles(). weight: finite, rotated
  void (*encode)(const at::Tensor& weight, Encoded& encoded) = nullptr;
  /// The decoded weight, not rotated back; null: values of codes times scales.
  at::Tensor (*decode)(const Encoded& encoded) = nullptr;
};

extern const Packing kPlain;  ///< codes and scales as they are

/// The shape of Encoded::scales.
std::vector<int64_t> scale_shape(const Codec& codec, int64_t out_features, int64_t in_features,
                                 int64_t block_size);

/// Filled up with zeros on the right and below.
at::Tensor padded(const at::Tensor& matrix, int64_t rows, int64_t columns);

/// Calls run(first row, number of rows) for a few rows at a time, so that what is computed of them stays
/// small; on the CPU in parallel, each on one thread.
template <typename Run>
void for_some_rows(const at::Tensor& weight, const Run& run) {
  const int64_t rows = weight.size(0), elements_at_once = int64_t{1} << (weight.is_cpu() ? 18 : 24);
  const int64_t at_once = std::max<int64_t>(1, elements_at_once / std::max<int64_t>(1, weight.size(1)));
  const auto some = [&](int64_t i) { run(i * at_once, std::min(at_once, rows - i * at_once)); };
  const int64_t count = (rows + at_once - 1) / at_once;
  if (weight.is_cpu()) return linalg::for_each_on_one_thread(count, some);
  for (int64_t i = 0; i < count; ++i) some(i);
}

}  // namespace ctq::format
