// Which block of the model a tensor belongs to, by its name.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ctq::report {

/// Ordered by stack, then by number.
struct BlockName {
  std::string stack;  ///< "blocks"
  int64_t index = 0;

  auto operator<=>(const BlockName&) const = default;
  std::string label() const;  ///< "blocks 3"
};

/// "blocks 3" of "blocks.3.attn.to_q.weight"; nothing where no part between dots is a number.
std::optional<BlockName> block_of(std::string_view name);

}  // namespace ctq::report
