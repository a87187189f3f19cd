// Tables that share rows with others.
#pragma once

#include <array>
#include <cstddef>

#include "families/foreign_names.h"

namespace ctq::families {

/// The rows of two tables, one after the other.
template <size_t N, size_t M>
constexpr std::array<ForeignName, N + M> joined(const ForeignName (&first)[N],
                                                const ForeignName (&second)[M]) {
  std::array<ForeignName, N + M> rows;
  for (size_t i = 0; i < N; ++i) rows[i] = first[i];
  for (size_t i = 0; i < M; ++i) rows[N + i] = second[i];
  return rows;
}

}  // namespace ctq::families
