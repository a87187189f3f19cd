// Sizes filled up to whole multiples.
#pragma once

#include <cstdint>

namespace ctq {

/// The smallest multiple of `step` that is at least `size`; step > 0.
constexpr int64_t round_up(int64_t size, int64_t step) { return (size + step - 1) / step * step; }

}  // namespace ctq
