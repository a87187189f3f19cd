// Moments of random rows that are pushed through a path.
#pragma once

#include <cstdint>

#include <c10/core/Device.h>

#include "calibrate/path.h"

namespace ctq::calibrate {

/// Moments of `rows` rows (from 1 on) of the path's output. The normal numbers are drawn on the CPU; on the
/// CPU the result has the same bits for any number of threads.
Moments draw_moments(const Path& path, uint64_t seed, int64_t rows, at::Device device);

}  // namespace ctq::calibrate
