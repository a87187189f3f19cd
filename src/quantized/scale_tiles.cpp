#include "quantized/scale_tiles.h"

#include <algorithm>

namespace ctq::quantized {

std::optional<linalg::Tiling> tiles_of_scale(const std::vector<int64_t>& scale, int64_t out_features,
                                             int64_t in_features) {
  const auto divides = [](int64_t part, int64_t whole) { return part > 0 && whole > 0 && whole % part == 0; };
  if (std::ranges::all_of(scale, [](int64_t size) { return size == 1; }))
    return linalg::Tiling{std::max<int64_t>(out_features, 1), std::max<int64_t>(in_features, 1)};
  if (!divides(scale[0], out_features)) return std::nullopt;
  const bool per_row = scale[0] == out_features;
  if (scale.size() == 1) return per_row ? std::optional(linalg::Tiling{1, in_features}) : std::nullopt;
  if (!divides(scale[1], in_features)) return std::nullopt;
  const linalg::Tiling tiles{out_features / scale[0], in_features / scale[1]};
  if (scale.size() == 2) return tiles;
  return scale.size() == 3 && scale[2] == 1 && per_row ? std::optional(tiles) : std::nullopt;
}

}  // namespace ctq::quantized
