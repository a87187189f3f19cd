// The formats of a quantized weight: grid x scaling x packing, one registry row each (docs/formats/).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "format/grid.h"
#include "linalg/moment.h"

namespace ctq::format {

/// What shares a scale.
enum class Granularity : uint8_t {
  kTensor,   ///< the whole weight
  kRow,      ///< one output feature
  kBlock,    ///< a square of block_size x block_size
  kBlock3d,  ///< a run of block_size columns of one row
  kGroup,    ///< a run of columns of one row, as many as the format says
};

/// "tensor", "row", "block", "block3d", "group".
std::string_view granularity_name(Granularity granularity);

/// How Encoded::scales lie. b = block_size, g = Codec::group.
enum class ScaleShape : uint8_t {
  kScalar,  ///< []
  kColumn,  ///< [out_features, 1]
  kVector,  ///< [out_features]
  kGrid,    ///< [out_features / b, in_features / b]
  kGrid3d,  ///< [out_features, in_features / b, 1]
  kGroups,  ///< [out_features, in_features / g], rounded up
};

/// The scales that a format can store.
enum class ScaleType : uint8_t {
  kFloat32,
  kE4M3,         ///< an outer scale times a float8_e4m3fn number, 0 included
  kE8M0,         ///< 2^-126 .. 2^127, and 0
  kBFloat16,     ///< positive
  kLogarithmic,  ///< the values of log_scale.h
};

/// Whether columns are rotated by ConvRot (linalg::rotate_columns), which the format's readers undo.
enum class Rotation : uint8_t { kNever, kOptional, kAlways };

struct Packing;

/// A row of the registry: everything that is fixed about a format. Plain data.
struct Codec {
  std::string_view format;  ///< the client's own word, as in the marker: "int8_tensorwise"
  std::string_view type;    ///< what people call its family on the command line: "int8", "fp8", "nvfp4"
  Granularity granularity;  ///< with `format` the key of the row
  ScaleShape scale_shape;
  const Grid& (*grid)();
  bool divide;  ///< codes come from w / scale (kitchen's INT8) rather than w * (1 / scale) (its FP8)
  linalg::ScaleRule absmax;  ///< decode scale and factor from the largest magnitude, with the format's own
                             ///< zero convention; null where the scale does not follow from it
  const Packing* packing;    ///< how codes and scales become the tensors of a file
  ScaleType scale_type = ScaleType::kFloat32;
  float (*outer_scale)(float whole) =
      nullptr;                      ///< of kE4M3 with `absmax`, from the weight's largest magnitude
  float largest_inner_scale = 448;  ///< of kE4M3
  int64_t group = 0;                ///< columns that share a scale; 0 unless kGroup
  int64_t pad = 0;  ///< both sides are stored filled up with zeros to multiples of it; 0: as they are
  Rotation rotation = Rotation::kNever;
  int64_t width_multiple = 1;     ///< readers take no other in_features
  bool reads_input_scale = true;  ///< <layer>.input_scale means something to some reader
  bool incoherent = false;  ///< codes are of the weight between two random-sign Walsh-Hadamard transforms
                            ///< (Encoded::sign_row), for sides that are powers of two
  bool target = true;       ///< a layer can be asked to become it by name

  /// "int8_tensorwise (row)": for people.
  std::string label() const;
  bool has_blocks() const {
    return granularity == Granularity::kBlock || granularity == Granularity::kBlock3d;
  }
};

/// The codecs that a target can be by name, in the order in which they are listed. Two more rows are made by
/// what else is asked for: quip_codec() and log_scale_codec().
std::span<const Codec> registry();

/// int8_quip_hadamard, which only QuIP makes and which takes only sides that are powers of two.
const Codec& quip_codec();

/// Whether decode() gives values of codes times scales, in float32; else it rounds between.
bool decodes_linearly(const Codec& codec);

/// What a quantized input of a layer in the format can at most stand for before scaling: the largest value of
/// the grid, with two-level scales times the largest E4M3. <layer>.input_scale is the largest input over
/// this.
float largest_input(const Codec& codec);

/// The codec of that format and granularity; null when there is none.
const Codec* find_codec(std::string_view format, Granularity granularity);

/// A weight in a format, one element per weight however densely it is stored. block_size is 0 where the
/// format has no blocks.
struct Encoded {
  const Codec* codec = nullptr;
  int64_t block_size = 0;
  int64_t rotation_group = 0;  ///< codes are of the weight with runs of so many columns rotated
                               ///< (linalg::rotate_columns), which readers undo; 0: of the weight itself
  at::Tensor codes = {};       ///< [out_features, in_features], linalg::code_dtype() of the codec's grid
  at::Tensor scales = {};  ///< float32 decode scales in the codec's ScaleShape, those of a ScaleType alone
  at::Tensor outer_scale = {};  ///< what scales of ScaleType::kE4M3 are multiples of, float32: [] for the
                                ///< tensor, or [out_features, 1]; else undefined
  at::Tensor zeros =
      {};  ///< awq_w4a16: what is added to the weights of a tile, like `scales`; else undefined
  at::Tensor sign_row =
      {};  ///< [out_features], [in_features] float32, 1 or -1, of incoherent codecs: codes are of
  at::Tensor sign_col = {};  ///< H diag(sign_row) W diag(sign_col) H, H the normalised Walsh-Hadamard matrix
};

/// One tensor as it will lie in the file.
struct StoredTensor {
  std::string_view role;  ///< "weight", "weight_scale", ..; format/layout.h makes names of roles
  at::ScalarType dtype;
  std::vector<int64_t> shape;
};

/// Tiles of a weight of that shape.
linalg::Tiling tiling(const Codec& codec, int64_t out_features, int64_t in_features, int64_t block_size);

/// Why a weight of that shape cannot be stored in the format ("in_features 2000 is not a multiple of block
/// size 128"); nothing when it can. No reader of a block format knows partial tiles.
std::optional<std::string> misfit(const Codec& codec, int64_t out_features, int64_t in_features,
                                  int64_t block_size);

/// The tensors of a layer in the file, the weight first, without marker: known from the shape alone.
std::vector<StoredTensor> stored_tensors(const Codec& codec, int64_t out_features, int64_t in_features,
                                         int64_t block_size);

/// The tensors that stored_tensors() announces: padded, packed, in the order of the file's bytes. On the
/// device of the codes.
std::vector<at::Tensor> pack(const Encoded& encoded);

/// The inverse of pack().
///
/// stored           as stored_tensors() announces; any device
/// rotation_group   as in Encoded
/// throws           Error(kBadInput) when a tensor has another type or shape, naming its role
Encoded unpack(const Codec& codec, int64_t block_size, int64_t rotation_group,
               const std::vector<at::Tensor>& stored, int64_t out_features, int64_t in_features);

/// Absmax scales and nearest codes in one pass over the weight. weight: [out_features, in_features],
/// contiguous, any float type and device; the result is on the same device.
/// returns  nothing when the weight holds a NaN or an infinity
///
/// rotation_group  as in Encoded; must divide in_features
/// sign_seed       of the signs of incoherent codecs
std::optional<Encoded> encode_nearest(const Codec& codec, const at::Tensor& weight, int64_t block_size,
                                      int64_t rotation_group = 0, uint64_t sign_seed = 0);

/// The same for a weight with one scale of its own, which is taken as if the weight's largest magnitude were
/// `largest`, where it is smaller: weights that share a scale. codec: of Granularity::kTensor
std::optional<Encoded> encode_nearest_reaching(const Codec& codec, const at::Tensor& weight, float largest);

/// Whether codes stand for another basis than the weight.
inline bool is_turned(const Encoded& encoded) {
  return encoded.rotation_group > 0 || encoded.sign_col.defined();
}

/// The weight, float32, in the space in which `like` has its codes: rotated, transformed, or as it is.
at::Tensor in_code_space(const at::Tensor& weight, const Encoded& like);

/// The second moment of an input, H [in_features, in_features], in that space: Q H Q^T for codes of W Q^T.
/// What the codes' rows are mixed with changes no trace.
linalg::Moment moment_in_code_space(const linalg::Moment& h, const Encoded& like);

/// The float32 weight that a loader gets, rotated back. [out_features, in_features].
at::Tensor decode(const Encoded& encoded);
/// The same in the space of the codes, not rotated back.
at::Tensor decode_codes(const Encoded& encoded);

struct RowRange {
  int64_t first, count;
};

/// Rows [row, row + count) as views. Where tiles are squares both are multiples of their height, or the last
/// row is among them. Of an incoherent codec they mean something in the space of the codes only
/// (decode_codes()).
Encoded rows_of(const Encoded& encoded, int64_t row, int64_t count);

/// Several of them, one below the other, as a copy. Each but the last is as high as some tiles.
Encoded rows_of(const Encoded& encoded, std::span<const RowRange> ranges);

/// For every scale the nearest one that the format can store. scales: float32 [tiles down, tiles across];
/// outer_scale: as in Encoded
at::Tensor storable_scales(const Codec& codec, const at::Tensor& scales, const at::Tensor& outer_scale);

}  // namespace ctq::format
