// What differs between formats on the way into a file and back: one Packing per file of this folder.
#pragma once

#include <cstdint>
#include <vector>

#include "ctq/format/codec.h"

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
extern const Packing kNvfp4;
extern const Packing kMxfp8;
extern const Packing kHybridMxfp8;
extern const Packing kConvrotW4a4;
extern const Packing kAsymW4a8;
extern const Packing kAwqW4a16;

/// The shape of Encoded::scales.
std::vector<int64_t> scale_shape(const Codec& codec, int64_t out_features, int64_t in_features,
                                 int64_t block_size);

inline int64_t round_up(int64_t size, int64_t multiple) {
  return (size + multiple - 1) / multiple * multiple;
}

/// Filled up with zeros on the right and below.
at::Tensor padded(const at::Tensor& matrix, int64_t rows, int64_t columns);

}  // namespace ctq::format
