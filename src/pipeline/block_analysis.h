// What a plain FP8 cast costs, weight by weight and block by block.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/cast_error.h"
#include "plan/blocks.h"

namespace ctq::pipeline {

struct WeightStatistics {
  std::string name;   ///< within the block
  std::string fused;  ///< as in plan::BlockWeight
  metrics::CastStatistics values;
};

struct BlockStatistics {
  std::string stack;
  int64_t index = 0;
  std::vector<WeightStatistics> weights;

  /// Mean of the weights' relative errors, by their number of values.
  double error() const;
  /// The weight of that name; null when there is none.
  const metrics::CastStatistics* find(std::string_view name) const;
};

/// Reads every weight once, several at a time.
/// throws  Error(kInterrupted) after a signal
std::vector<BlockStatistics> analyze_blocks(std::span<const plan::Block> blocks);

}  // namespace ctq::pipeline
