#include "format/codec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "format/log_scale.h"
#include "format/quip.h"
#include "linalg/conjugate.h"
#include "linalg/hadamard.h"
#include "packing.h"
#include "scaling.h"

namespace ctq::format {
namespace {

using enum Granularity;
using enum ScaleShape;

/// Rows or columns of tiles that cover so many of the weight's.
int64_t count(int64_t size, int64_t tile) { return (size + tile - 1) / tile; }

/// The scales of a weight as [tiles down, tiles across].
at::Tensor scales_of_tiles(const Encoded& encoded) {
  const int64_t rows = encoded.codes.size(0), columns = encoded.codes.size(1);
  const linalg::Tiling tiles = tiling(*encoded.codec, rows, columns, encoded.block_size);
  return encoded.scales.reshape({tiles.count_down(rows), tiles.count_across(columns)});
}

}  // namespace

std::vector<int64_t> scale_shape(const Codec& codec, int64_t out_features, int64_t in_features,
                                 int64_t block_size) {
  switch (codec.scale_shape) {
    case kScalar: return {};
    case kColumn: return {out_features, 1};
    case kVector: return {out_features};
    case kGrid: return {out_features / block_size, in_features / block_size};
    case kGrid3d: return {out_features, in_features / block_size, 1};
    case kGroups: return {out_features, count(in_features, codec.group)};
  }
  TORCH_INTERNAL_ASSERT(false);
}

at::Tensor padded(const at::Tensor& matrix, int64_t rows, int64_t columns) {
  const int64_t below = rows - matrix.size(0), right = columns - matrix.size(1);
  return below == 0 && right == 0 ? matrix.contiguous() : at::constant_pad_nd(matrix, {0, right, 0, below});
}

std::string_view granularity_name(Granularity granularity) {
  constexpr std::array<std::string_view, 5> kNames = {"tensor", "row", "block", "block3d", "group"};
  return kNames.at(static_cast<size_t>(granularity));
}

std::string Codec::label() const { return fmt::format("{} ({})", format, granularity_name(granularity)); }

float largest_input(const Codec& codec) {
  return codec.grid().max_abs() * (codec.outer_scale ? kMaxE4M3 : 1);
}

linalg::Tiling tiling(const Codec& codec, int64_t out_features, int64_t in_features, int64_t block_size) {
  const int64_t all_rows = std::max<int64_t>(out_features, 1), all_cols = std::max<int64_t>(in_features, 1);
  switch (codec.granularity) {
    case kTensor: return {all_rows, all_cols};
    case kRow: return {1, all_cols};
    case kBlock: return {block_size, block_size};
    case kBlock3d: return {1, block_size};
    case kGroup: return {1, codec.group};
  }
  TORCH_INTERNAL_ASSERT(false);
}

std::optional<std::string> misfit(const Codec& codec, int64_t out_features, int64_t in_features,
                                  int64_t block_size) {
  if (in_features % codec.width_multiple != 0)
    return fmt::format("in_features {} is not a multiple of {}, as {} needs it", in_features,
                       codec.width_multiple, codec.format);
  if (codec.incoherent) {
    for (const auto& [side, size] : {std::pair{"out_features", out_features}, {"in_features", in_features}}) {
      if (!std::has_single_bit(static_cast<uint64_t>(size)))
        return fmt::format("{} {} is no power of two, as {} needs it", side, size, codec.format);
    }
  }
  if (!codec.has_blocks()) return std::nullopt;
  if (block_size < 1)
    return fmt::format("{} needs a block size of at least 1, not {}", codec.label(), block_size);
  const auto uneven = [&](std::string_view side, int64_t size) {
    return fmt::format("{} {} is not a multiple of block size {}", side, size, block_size);
  };
  if (codec.granularity == kBlock && out_features % block_size != 0)
    return uneven("out_features", out_features);
  if (in_features % block_size != 0) return uneven("in_features", in_features);
  return std::nullopt;
}

std::vector<StoredTensor> stored_tensors(const Codec& codec, int64_t out_features, int64_t in_features,
                                         int64_t block_size) {
  return codec.packing->stored(codec, out_features, in_features, block_size);
}

std::vector<at::Tensor> pack(const Encoded& encoded) { return encoded.codec->packing->pack(encoded); }

Encoded unpack(const Codec& codec, int64_t block_size, int64_t rotation_group,
               const std::vector<at::Tensor>& stored, int64_t out_features, int64_t in_features) {
  const auto announced = stored_tensors(codec, out_features, in_features, block_size);
  if (stored.size() != announced.size())
    fail(ErrorCode::kBadInput, "{} has {} tensors, not {}", codec.label(), announced.size(), stored.size());
  for (size_t i = 0; i < stored.size(); ++i) {
    const StoredTensor& wanted = announced[i];
    if (stored[i].scalar_type() == wanted.dtype && stored[i].sizes() == at::IntArrayRef(wanted.shape))
      continue;
    fail(ErrorCode::kBadInput, "{} of a weight [{}, {}] in {} is {} [{}], not {} [{}]", wanted.role,
         out_features, in_features, codec.label(), at::toString(wanted.dtype), fmt::join(wanted.shape, ", "),
         at::toString(stored[i].scalar_type()), fmt::join(stored[i].sizes(), ", "));
  }
  Encoded encoded{&codec, codec.has_blocks() ? block_size : 0, rotation_group};
  codec.packing->unpack(stored, out_features, in_features, encoded);
  return encoded;
}

at::Tensor in_code_space(const at::Tensor& weight, const Encoded& like) {
  if (like.sign_row.defined()) return incoherent(weight, like.sign_row, like.sign_col);
  return like.rotation_group > 0 ? linalg::rotate_columns(weight, like.rotation_group) : weight;
}

linalg::Moment moment_in_code_space(const linalg::Moment& h, const Encoded& like) {
  if (like.sign_col.defined())
    return h.turned([&](const at::Tensor& x) { return linalg::walsh_hadamard(x * like.sign_col, 1); });
  if (like.rotation_group == 0) return h;
  return h.turned([&](const at::Tensor& x) { return linalg::rotate_columns(x, like.rotation_group); },
                  like.rotation_group);
}

std::optional<Encoded> encode_nearest(const Codec& codec, const at::Tensor& original, int64_t block_size,
                                      int64_t rotation_group, uint64_t sign_seed) {
  Encoded encoded{&codec, codec.has_blocks() ? block_size : 0, rotation_group};
  if (codec.incoherent) {
    encoded.sign_row = random_signs(original.size(0), sign_seed, original.device());
    encoded.sign_col = random_signs(original.size(1), sign_seed + 1, original.device());
  }
  const at::Tensor weight = in_code_space(original, encoded);
  const int64_t n = weight.size(0), k = weight.size(1);
  if (codec.packing->encode) {
    if (!linalg::extent(weight).finite()) return std::nullopt;
    codec.packing->encode(weight, encoded);
    return encoded;
  }
  const bool two_levels = codec.outer_scale != nullptr;
  bool finite = true;
  linalg::TileCodes coded =
      linalg::quantize_tiles(weight, tiling(codec, n, k, block_size),
                             {codec.grid().code(), codec.divide, codec.absmax, two_levels}, &finite);
  if (!finite) return std::nullopt;
  // A weight without elements has no tile, but a scalar scale all the same.
  if (codec.scale_shape == kScalar && weight.numel() == 0) {
    coded.decode = at::full({1}, codec.absmax(0, 0).decode, coded.decode.options());
  }
  encoded.codes = coded.codes;
  encoded.scales = coded.decode.reshape(scale_shape(codec, n, k, block_size));
  if (two_levels) encoded.outer_scale = at::full({}, codec.outer_scale(coded.whole), coded.decode.options());
  return encoded;
}

std::optional<Encoded> encode_nearest_reaching(const Codec& codec, const at::Tensor& weight, float largest) {
  TORCH_INTERNAL_ASSERT(codec.granularity == kTensor && codec.absmax && !codec.packing->encode);
  const linalg::Extent extent = linalg::extent(weight);
  if (!extent.finite()) return std::nullopt;
  const linalg::TileScale scale = codec.absmax(std::max(extent.amax, largest), 0);
  Encoded encoded{&codec};
  const at::TensorOptions options = weight.options().dtype(at::kFloat);
  encoded.codes =
      linalg::encode_tiles(weight, tiling(codec, weight.size(0), weight.size(1), 0), codec.grid().code(),
                           codec.divide, at::full({1, 1}, scale.factor, options));
  encoded.scales = at::full({}, scale.decode, options);
  return encoded;
}

bool decodes_linearly(const Codec& codec) { return codec.packing->decode == nullptr; }

at::Tensor decode_codes(const Encoded& encoded) {
  if (encoded.codes.numel() == 0)
    return at::empty(encoded.codes.sizes(), encoded.scales.options().dtype(at::kFloat));
  if (encoded.codec->packing->decode) return encoded.codec->packing->decode(encoded);
  const linalg::Tiling tiles =
      tiling(*encoded.codec, encoded.codes.size(0), encoded.codes.size(1), encoded.block_size);
  return linalg::decode_tiles(encoded.codes.contiguous(), encoded.codec->grid().code(), tiles,
                              scales_of_tiles(encoded));
}

at::Tensor decode(const Encoded& encoded) {
  const at::Tensor decoded = decode_codes(encoded);
  if (encoded.sign_row.defined()) return coherent(decoded, encoded.sign_row, encoded.sign_col);
  return encoded.rotation_group > 0 && decoded.numel() > 0
             ? linalg::rotate_columns(decoded, encoded.rotation_group)
             : decoded;
}

Encoded rows_of(const Encoded& encoded, int64_t row, int64_t rows) {
  Encoded part = encoded;
  part.codes = encoded.codes.narrow(0, row, rows);
  if (encoded.sign_row.defined()) part.sign_row = encoded.sign_row.narrow(0, row, rows);
  if (encoded.codec->granularity == kTensor) return part;
  const bool square = encoded.codec->granularity == kBlock;
  const int64_t height = square ? encoded.block_size : 1;
  part.scales = encoded.scales.narrow(0, row / height, count(rows, height));
  if (encoded.outer_scale.defined() && encoded.outer_scale.dim() > 0)
    part.outer_scale = encoded.outer_scale.narrow(0, row, rows);
  if (encoded.zeros.defined()) part.zeros = encoded.zeros.narrow(0, row, rows);
  return part;
}

Encoded rows_of(const Encoded& encoded, std::span<const RowRange> ranges) {
  std::vector<Encoded> parts;
  for (const RowRange& range : ranges) parts.push_back(rows_of(encoded, range.first, range.count));
  Encoded together = parts.front();
  for (at::Tensor Encoded::*const field :
       {&Encoded::codes, &Encoded::sign_row, &Encoded::scales, &Encoded::outer_scale, &Encoded::zeros}) {
    // What belongs to all rows stays as it is.
    if (parts.size() == 1 || !(together.*field).defined() || (together.*field).is_same(encoded.*field))
      continue;
    const at::ScalarType type = (encoded.*field).scalar_type();
    const bool byte = c10::elementSize(type) == 1;  // not every operation knows float8
    std::vector<at::Tensor> all;
    for (const Encoded& part : parts) all.push_back(byte ? (part.*field).view(at::kByte) : part.*field);
    together.*field = at::cat(all).view(type);
  }
  return together;
}

at::Tensor storable_scales(const Codec& codec, const at::Tensor& scales, const at::Tensor& outer_scale) {
  switch (codec.scale_type) {
    case ScaleType::kFloat32: return scales;
    case ScaleType::kE4M3:
      return e4m3_grid()
          .nearest((scales / outer_scale).clamp_max_(codec.largest_inner_scale))
          .mul_(outer_scale);
    case ScaleType::kLogarithmic: {
      const at::Tensor on_cpu = scales.cpu().contiguous().clone();
      for (float& scale : std::span(on_cpu.data_ptr<float>(), static_cast<size_t>(on_cpu.numel())))
        scale = log_scale_value(log_scale_code(std::clamp(scale, log_scale_value(0), log_scale_value(255))));
      return on_cpu.to(scales.device());
    }
    case ScaleType::kBFloat16: return scales.to(at::kBFloat16).to(at::kFloat);
    case ScaleType::kE8M0: {
      const auto [fraction, exponent] = at::frexp(scales);  // fraction in [1/2, 1)
      const at::Tensor power = at::where(fraction < 0.75, exponent - 1, exponent).clamp_(-126, 127);
      return at::where(scales > 0, at::ldexp(at::ones_like(scales), power), 0);
    }
  }
  TORCH_INTERNAL_ASSERT(false);
}

}  // namespace ctq::format
