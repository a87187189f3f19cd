// What an optimizer holds in memory while it works on a layer.
#pragma once

#include <cstdint>

#include "ctq/format/codec.h"
#include "ctq/optimize/optimizer.h"

namespace ctq::optimize {

/// In float32 matrices. Upper bounds, by measurement (bench/memory.py), beside the weight as it was read and
/// its codes.
struct Footprint {
  double rows = 0;     ///< of [rows worked on at a time, in_features]
  double moments = 0;  ///< of [in_features, in_features]
};

/// What round to nearest holds is little beside its codes.
///
/// settings  with the segments that the layer is rounded in
/// rotated   whether codes stand for another basis than the weight
Footprint footprint(const Settings& settings, const format::Codec& codec, bool rotated, int64_t in_features);

/// Whether a layer may be rounded some rows at a time: one pass rounds them independently of each other,
/// while a singular value decomposition or a rotation of rows needs them all.
bool takes_rows_apart(const Settings& settings, const format::Codec& codec);

/// Whether that gives the same codes: not where scales that rows share are searched.
bool same_by_rows(const Settings& settings, const format::Codec& codec);

/// Whether a layer may be rounded in segments of columns.
bool takes_segments(const Settings& settings);

}  // namespace ctq::optimize
