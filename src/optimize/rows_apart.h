// Which layers an optimizer may round some rows at a time.
#pragma once

#include <cstdint>

#include "format/codec.h"
#include "optimize/optimizer.h"

namespace ctq::optimize {

/// Whether a layer may be rounded some rows at a time: one pass rounds them independently of each other,
/// while a singular value decomposition or a rotation of rows needs them all.
bool takes_rows_apart(const Settings& settings, const format::Codec& codec);

/// Whether that gives the same codes: not where scales that rows share are searched.
bool same_by_rows(const Settings& settings, const format::Codec& codec);

}  // namespace ctq::optimize
