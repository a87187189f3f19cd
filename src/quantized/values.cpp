#include "values.h"

#include <array>
#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "base/error.h"
#include "base/text.h"
#include "linalg/tiles.h"
#include "quantized/scale_tiles.h"

namespace ctq::quantized {
namespace {

using Entry = model::Checkpoint::Entry;

/// Edge of the blocks of DeepSeek's FP8.
constexpr int64_t kUsualBlock = 128;

constexpr std::array<float, 16> kE2M1 = {0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.f, -0.5, -1, -1.5, -2, -3, -4, -6};

template <typename Word>
void unpack_row(const Word* words, int bits, int64_t count, int16_t* codes) {
  constexpr int kWordBits = 8 * sizeof(Word);
  using Unsigned = std::make_unsigned_t<Word>;
  const uint64_t mask = (uint64_t{1} << bits) - 1;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t first = i * bits, word = first / kWordBits, shift = first % kWordBits;
    uint64_t value = static_cast<Unsigned>(words[word]) >> shift;
    if (shift + bits > kWordBits)
      value |= static_cast<uint64_t>(static_cast<Unsigned>(words[word + 1])) << (kWordBits - shift);
    codes[i] = static_cast<int16_t>(value & mask);
  }
}

}  // namespace

const Entry& required_side(const Layer& layer, std::string_view role) {
  const Entry* entry = layer.side(role);
  if (!entry) fail(ErrorCode::kBadInput, "{} is missing", role);
  return *entry;
}

at::Tensor load_input_factors(const Entry& entry, int64_t in_features) {
  if (entry.info->numel() != in_features)
    fail(ErrorCode::kBadInput, "pre_quant_scale has shape {}", shape_text(entry.info->shape));
  return model::load(entry).to(at::kFloat).reshape({-1});
}

at::Tensor load_scales(const Entry& entry) {
  using safetensors::Dtype;
  if (entry.info->dtype != Dtype::kU8 && entry.info->dtype != Dtype::kF8E8M0)
    return model::load(entry).to(at::kFloat);
  at::Tensor scales = at::empty(entry.info->shape, at::kFloat);
  const at::Tensor exponents = model::load_bytes(entry);
  const auto* from = exponents.const_data_ptr<uint8_t>();
  auto* to = scales.mutable_data_ptr<float>();
  for (int64_t i = 0; i < scales.numel(); ++i)
    to[i] = from[i] == 255 ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, from[i] - 127);
  return scales;
}

at::Tensor unpack_bits(const at::Tensor& words, int bits, int64_t count) {
  const int64_t rows = words.size(0), have = words.size(1) * 8 * static_cast<int64_t>(words.element_size());
  if (count * bits > have)
    fail(ErrorCode::kBadInput, "{} codes of {} bits do not fit in rows of {} bits", count, bits, have);
  const at::Tensor packed = words.contiguous();
  at::Tensor codes = at::empty({rows, count}, at::kShort);
  auto* to = codes.mutable_data_ptr<int16_t>();
  at::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      if (packed.scalar_type() == at::kInt)
        unpack_row(packed.const_data_ptr<int32_t>() + row * packed.size(1), bits, count, to + row * count);
      else
        unpack_row(packed.const_data_ptr<uint8_t>() + row * packed.size(1), bits, count, to + row * count);
    }
  });
  return codes;
}

at::Tensor unpack_e2m1(const at::Tensor& bytes, bool even_is_high) {
  const at::Tensor packed = bytes.contiguous();
  at::Tensor values = at::empty({packed.size(0), packed.size(1) * 2}, at::kFloat);
  const auto* from = packed.const_data_ptr<uint8_t>();
  auto* to = values.mutable_data_ptr<float>();
  for (int64_t i = 0; i < packed.numel(); ++i) {
    const float low = kE2M1.at(from[i] & 15), high = kE2M1.at(from[i] >> 4);
    to[2 * i] = even_is_high ? high : low;
    to[2 * i + 1] = even_is_high ? low : high;
  }
  return values;
}

at::Tensor scaled_runs(const at::Tensor& codes, const at::Tensor& scales, const at::Tensor& zeros,
                       const at::Tensor& runs) {
  const int64_t out_features = codes.size(0), in_features = codes.size(1);
  const auto spread = [&](const at::Tensor& values) -> at::Tensor {
    if (values.numel() == 1) return values.reshape({1, 1});
    if (values.numel() == out_features) return values.reshape({out_features, 1});
    const bool fits = values.dim() == 2 && values.size(0) == out_features && values.size(1) > 0;
    if (fits && runs.defined()) return values.index_select(1, runs);
    if (!fits || in_features % values.size(1) != 0)
      fail(ErrorCode::kBadInput, "scales or zero points {} fit no runs of {}", shape_text(values.sizes()),
           shape_text(codes.sizes()));
    return values.repeat_interleave(in_features / values.size(1), 1);
  };
  at::Tensor product = codes.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  if (zeros.defined()) product.sub_(spread(zeros.to(at::kFloat)));
  return product.mul_(spread(scales));
}

at::Tensor scaled_blocks(const at::Tensor& codes, const at::Tensor& scales) {
  const int64_t rows = codes.size(0), columns = codes.size(1);
  std::optional<linalg::Tiling> tiles;
  const linalg::Tiling usual{kUsualBlock, kUsualBlock};
  if (scales.dim() == 2 && scales.numel() > 1 && scales.size(0) == usual.count_down(rows) &&
      scales.size(1) == usual.count_across(columns))
    tiles = usual;
  if (!tiles) tiles = tiles_of_scale(scales.sizes().vec(), rows, columns);
  if (!tiles)
    fail(ErrorCode::kBadInput, "a scale of shape {} covers no even part of {}", shape_text(scales.sizes()),
         shape_text(codes.sizes()));
  if (codes.numel() == 0) return at::empty(codes.sizes(), at::kFloat);
  const linalg::Code code = codes.scalar_type() == at::kChar          ? linalg::Code::kInt8
                            : codes.scalar_type() == at::kFloat8_e5m2 ? linalg::Code::kE5M2
                                                                      : linalg::Code::kE4M3;
  return linalg::decode_tiles(
      codes.contiguous(), code, *tiles,
      scales.reshape({tiles->count_down(rows), tiles->count_across(columns)}).contiguous());
}

}  // namespace ctq::quantized
