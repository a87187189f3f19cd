// The weights of a transformer, block by block.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/checkpoint.h"

namespace ctq::plan {

/// Which block of a model a tensor belongs to, by its name. Ordered by stack, then by number.
struct BlockName {
  std::string stack;  ///< what stands before the number: "double_blocks"
  int64_t index = 0;

  auto operator<=>(const BlockName&) const = default;
  std::string label() const;  ///< "double_blocks 3"
};

/// "blocks", 3 of "blocks.3.attn.to_q.weight"; nothing where no part between dots is a number.
/// rest: gets what follows the number, where not null
std::optional<BlockName> block_of(std::string_view name, std::string_view* rest = nullptr);

/// A weight of a block, or the rows of one that are a layer of their own.
struct BlockWeight {
  std::string name;  ///< within the block: "attn.out_proj"
  const model::Checkpoint::Entry* source = nullptr;
  int64_t first_row = 0;
  int64_t rows = 0;
  std::string fused;  ///< of a part: what the parts, which follow each other, are together; or empty
};

struct Block {
  std::string stack;  ///< as of BlockName
  int64_t index = 0;
  std::vector<BlockWeight> weights;
};

/// The 2-D float weights whose name has a block's number (the first ".<digits>."), weights by name, blocks by
/// stack and number. Those of an OpenCLIP text encoder in its own order, with q, k and v apart
/// (plan/clip_g.h).
/// throws  Error(kBadInput): no such weight; see clip_g_blocks()
std::vector<Block> find_blocks(const model::Checkpoint& checkpoint);

/// Indices as a comma list of ranges: "0-6,12". Sorted without doubles.
std::string range_list(const std::vector<int64_t>& indices);

}  // namespace ctq::plan
