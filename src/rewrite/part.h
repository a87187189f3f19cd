// Parts of an output that several processes write, and joining them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "safetensors/header.h"

namespace ctq::rewrite {

/// What the header's metadata of a part says.
struct PartLabel {
  std::string plan;  ///< the same for parts that belong together
  int64_t part = 1;  ///< from 1
  int64_t parts = 1;
  uint64_t tensors = 0;  ///< of all parts
};

void add_label(safetensors::Metadata& metadata, const PartLabel& label);
/// Takes the label out.
/// returns  nothing where there is none
/// throws  Error(kBadInput) naming `path` for a label that cannot be read
std::optional<PartLabel> take_label(safetensors::Metadata& metadata, const std::string& path);

struct Assembled {
  size_t parts = 0;
  size_t tensors = 0;
};

/// Joins parts, given in any order: the bytes that one process would have written.
///
/// throws  Error(kBadInput): a file that is no part, parts of different plans, one twice, one missing, or
/// tensors
///         that were taken out of one or are in two; see safetensors::Reader and Writer
Assembled assemble(const std::vector<std::string>& parts, const std::string& output);

}  // namespace ctq::rewrite
