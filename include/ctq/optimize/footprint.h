// What an optimizer holds in memory while it works on a layer.
#pragma once

#include <cstdint>

#include "ctq/format/codec.h"
#include "ctq/optimize/optimizer.h"

namespace ctq::optimize {

/// What the settings' optimizer holds; what round to nearest holds is little beside its codes.
///
/// settings  with the segments that the layer is rounded in
Footprint footprint(const Settings& settings, const Space& space);

/// Whether a layer may be rounded some rows at a time: one pass rounds them independently of each other,
/// while a singular value decomposition or a rotation of rows needs them all.
bool takes_rows_apart(const Settings& settings, const format::Codec& codec);

/// Whether that gives the same codes: not where scales that rows share are searched.
bool same_by_rows(const Settings& settings, const format::Codec& codec);

/// Whether a layer may be rounded in segments of columns.
bool takes_segments(const Settings& settings);

}  // namespace ctq::optimize
