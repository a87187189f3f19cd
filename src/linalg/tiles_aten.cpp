#include "linalg/tiles_aten.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>

namespace ctq::linalg {

namespace aten {
namespace {

constexpr int64_t kChunk = int64_t{1} << 22;  // elements handled at a time where temporaries are large

/// A matrix as [count_down, rows, count_across, cols]. Tiles at the edges are filled up with zeros, which
/// costs a copy.
at::Tensor cut(const at::Tensor& matrix, Tiling tiling) {
  const int64_t n = matrix.size(0), k = matrix.size(1);
  const int64_t rows = std::clamp<int64_t>(n, 1, tiling.rows), cols = std::clamp<int64_t>(k, 1, tiling.cols);
  const int64_t down = tiling.count_down(n), across = tiling.count_across(k);
  at::Tensor whole = matrix;
  if (down * rows != n || across * cols != k)
    whole = at::constant_pad_nd(matrix, {0, across * cols - k, 0, down * rows - n});
  return whole.view({down, rows, across, cols});
}

at::Tensor uncut(const at::Tensor& tiles, int64_t n, int64_t k) {
  return tiles.reshape({tiles.size(0) * tiles.size(1), tiles.size(2) * tiles.size(3)})
      .narrow(0, 0, n)
      .narrow(1, 0, k)
      .contiguous();
}

at::Tensor per_tile(const at::Tensor& numbers) { return numbers.unsqueeze(1).unsqueeze(3); }

}  // namespace

Extent extent(const at::Tensor& weight) {
  Extent found;
  const at::Tensor flat = weight.reshape(-1);
  for (int64_t begin = 0; begin < flat.numel(); begin += kChunk) {
    const at::Tensor part = flat.narrow(0, begin, std::min(kChunk, flat.numel() - begin)).to(at::kFloat);
    found.nan_count += part.isnan().sum().item<int64_t>();
    found.inf_count += part.isinf().sum().item<int64_t>();
    found.amax = std::max(found.amax, part.abs().nan_to_num(0.0, 0.0, 0.0).max().item<float>());
  }
  return found;
}

at::Tensor tile_amax(const at::Tensor& weight, Tiling tiling) {
  if (weight.numel() == 0) {
    return at::zeros({tiling.count_down(weight.size(0)), tiling.count_across(weight.size(1))},
                     weight.options().dtype(at::kFloat));
  }
  const at::Tensor tiles = cut(weight, tiling);
  return at::maximum(tiles.amax({1, 3}), tiles.amin({1, 3}).neg()).to(at::kFloat).abs();
}

TileCodes quantize_tiles(const at::Tensor& weight, Tiling tiling, TileCoding coding, bool* finite) {
  const at::Tensor amax = aten::tile_amax(weight, tiling).cpu();
  at::Tensor decode = at::zeros_like(amax), factor = at::ones_like(amax);
  *finite = true;
  const float* magnitude = amax.const_data_ptr<float>();
  const bool looks_at_all = coding.two_levels || amax.numel() == 1;
  const float whole = looks_at_all && amax.numel() > 0 ? amax.max().item<float>() : 0;
  for (int64_t i = 0; i < amax.numel(); ++i) {
    if (!std::isfinite(magnitude[i])) {
      *finite = false;
      continue;
    }
    const TileScale scale = coding.rule(magnitude[i], whole);
    decode.mutable_data_ptr<float>()[i] = scale.decode;
    factor.mutable_data_ptr<float>()[i] = scale.factor;
  }
  const at::Device device = weight.device();
  return {aten::encode_tiles(weight, tiling, coding.code, coding.divide, factor.to(device)),
          decode.to(device), whole};
}

at::Tensor encode_tiles(const at::Tensor& weight, Tiling tiling, Code code, bool divide,
                        const at::Tensor& factor) {
  const int64_t n = weight.size(0), k = weight.size(1);
  if (weight.numel() == 0) return at::empty({n, k}, weight.options().dtype(code_dtype(code)));
  const at::Tensor values = cut(weight, tiling).to(at::kFloat);
  const at::Tensor u = divide ? values / per_tile(factor) : values * per_tile(factor);
  return uncut(codes_of(at::where(per_tile(factor) == 0, 0, u), code), n, k);
}

at::Tensor pack_nibbles(const at::Tensor& codes, bool even_is_high) {
  std::vector<int64_t> shape = codes.sizes().vec();
  shape.back() /= 2;
  shape.push_back(2);
  const at::Tensor pairs = codes.view(at::kByte).reshape(shape).bitwise_and(15);
  const at::Tensor low = pairs.select(-1, even_is_high ? 1 : 0),
                   high = pairs.select(-1, even_is_high ? 0 : 1);
  return high.bitwise_left_shift(4).bitwise_or_(low).view(codes.scalar_type());
}

at::Tensor decode_tiles(const at::Tensor& codes, Code code, Tiling tiling, const at::Tensor& decode) {
  const int64_t n = codes.size(0), k = codes.size(1);
  const at::Tensor values = values_of(codes, code);
  if (codes.numel() == 0) return values;
  return uncut(cut(values, tiling) * per_tile(decode), n, k);
}

}  // namespace aten
}  // namespace ctq::linalg
