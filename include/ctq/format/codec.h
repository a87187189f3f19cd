// The formats of a quantized weight: grid x scaling x packing, one registry row each (docs/formats/).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "ctq/format/grid.h"

namespace ctq::format {

/// What shares a scale.
enum class Granularity : uint8_t {
  kTensor,   ///< the whole weight
  kRow,      ///< one output feature
  kBlock,    ///< a square of block_size x block_size
  kBlock3d,  ///< a run of block_size columns of one row
};

/// "tensor", "row", "block", "block3d".
std::string_view granularity_name(Granularity granularity);

/// How the scales lie in the file. b = block_size.
enum class ScaleShape : uint8_t {
  kScalar,  ///< []
  kColumn,  ///< [out_features, 1]
  kVector,  ///< [out_features]
  kGrid,    ///< [out_features / b, in_features / b]
  kGrid3d,  ///< [out_features, in_features / b, 1]
};

/// A row of the registry: everything that is fixed about a format. Plain data.
struct Codec {
  std::string_view format;  ///< the client's own word, as in the marker: "int8_tensorwise"
  Granularity granularity;  ///< with `format` the key of the row
  ScaleShape scale_shape;
  const Grid& (*grid)();
  bool divide;  ///< codes come from w / scale (kitchen's INT8) rather than w * (1 / scale) (its FP8)
  linalg::ScaleRule
      absmax;  ///< decode scale and factor from the largest magnitude, with the format's own zero convention
  bool stock;  ///< stock ComfyUI loads it
  std::string_view reader;  ///< who reads it, when stock ComfyUI does not
  std::string_view
      stock_equivalent;  ///< what to choose instead, as command-line flags; empty for stock formats

  /// "int8_tensorwise (row)": for people.
  std::string label() const;
  bool has_blocks() const {
    return granularity == Granularity::kBlock || granularity == Granularity::kBlock3d;
  }
};

/// All codecs, in the order in which --list-formats prints them.
std::span<const Codec> registry();

/// The codec of that format and granularity; null when there is none.
const Codec* find_codec(std::string_view format, Granularity granularity);

/// A weight in a format. block_size is 0 where the format has no blocks.
struct Encoded {
  const Codec* codec = nullptr;
  int64_t block_size = 0;
  int64_t rotation_group = 0;  ///< codes are of the weight with runs of so many columns rotated
                               ///< (linalg::rotate_columns), which readers undo; 0: of the weight itself
  at::Tensor codes;            ///< [out_features, in_features], int8 or float8
  at::Tensor scales;           ///< float32 decode scales in the codec's ScaleShape
};

/// One tensor as it will lie in the file.
struct StoredTensor {
  std::string_view role;  ///< "weight" or "weight_scale"; format/layout.h makes names of roles
  at::ScalarType dtype;
  std::vector<int64_t> shape;
};

/// Tiles of a weight of that shape.
linalg::Tiling tiling(const Codec& codec, int64_t out_features, int64_t in_features, int64_t block_size);

/// Why a weight of that shape cannot be stored in the format ("in_features 2000 is not a multiple of block
/// size 128"); nothing when it can. No reader of a block format knows partial tiles.
std::optional<std::string> misfit(const Codec& codec, int64_t out_features, int64_t in_features,
                                  int64_t block_size);

/// The tensors of a layer in the file, without marker: known from the shape alone.
std::vector<StoredTensor> stored_tensors(const Codec& codec, int64_t out_features, int64_t in_features,
                                         int64_t block_size);

/// Absmax scales and nearest codes in one pass over the weight. weight: [out_features, in_features],
/// contiguous, any float type and device; the result is on the same device. returns  nothing when the weight
/// holds a NaN or an infinity
///
/// rotation_group  as in Encoded; must divide in_features
std::optional<Encoded> encode_nearest(const Codec& codec, const at::Tensor& weight, int64_t block_size,
                                      int64_t rotation_group = 0);

/// The float32 weight that a loader gets, rotated back. [out_features, in_features].
at::Tensor decode(const Encoded& encoded);

}  // namespace ctq::format
