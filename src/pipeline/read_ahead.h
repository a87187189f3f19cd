// Asks the kernel for tensors before they are needed.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/plan.h"

namespace ctq::pipeline {

/// Keeps up to `byte_budget` bytes of the coming tensors on their way into memory.
class ReadAhead {
 public:
  ReadAhead(const std::vector<const plan::TensorPlan*>& order, uint64_t byte_budget)
      : order_(order), byte_budget_(byte_budget) {}

  /// Call before tensor `current` is worked on.
  void advance(size_t current) {
    if (next_ <= current)
      next_ = current + 1, ahead_bytes_ = 0;
    else
      ahead_bytes_ -= order_[current]->bytes_in();
    while (next_ < order_.size() && ahead_bytes_ + order_[next_]->bytes_in() <= byte_budget_) {
      const plan::TensorPlan& tensor = *order_[next_++];
      tensor.source->file->prefetch(*tensor.source->info);
      ahead_bytes_ += tensor.bytes_in();
    }
  }

 private:
  const std::vector<const plan::TensorPlan*>& order_;
  const uint64_t byte_budget_;
  size_t next_ = 0;           ///< first tensor not asked for yet
  uint64_t ahead_bytes_ = 0;  ///< of those asked for and not worked on
};

}  // namespace ctq::pipeline
