// What a scale covers, from its shape.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "linalg/tiles.h"

namespace ctq::quantized {

/// The tiles of a weight [out_features, in_features] whose scales have that shape: one element covers the
/// weight, [out_features] and [out_features, 1] its rows, [out_features, n, 1] runs of in_features / n
/// columns of a row, [m, n] blocks. Nothing when no such tiles divide the weight.
std::optional<linalg::Tiling> tiles_of_scale(const std::vector<int64_t>& scale, int64_t out_features,
                                             int64_t in_features);

}  // namespace ctq::quantized
