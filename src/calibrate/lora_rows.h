// Rows that a LoRA's A matrices suggest as inputs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>

#include "ctq/model/checkpoint.h"

namespace ctq::calibrate {

/// A layer's name as LoRAs and models can be compared by it: without one prefix of a model and one of a LoRA,
/// '.' for '_', lower case.
std::string lora_name(std::string_view layer);

class LoraRows {
 public:
  /// Finds the `.lora_A.weight` and `.lora_down.weight` matrices of a file.
  /// throws  Error(kBadInput): unreadable, or there are none
  LoraRows(const std::string& path, uint64_t seed);

  /// [A; A + 0.1 n; A + 0.2 n'; -A] / std of the layer's A, [4 rank, in_features] float32; undefined when the
  /// LoRA has none for it. The same seed gives the same rows for a layer.
  /// throws  Error(kBadInput): an A of exactly this name and another width
  at::Tensor rows(std::string_view layer, int64_t in_features) const;

  size_t size() const { return matrices_.size(); }
  /// " (the first is '...')".
  std::string example() const;

 private:
  const model::Checkpoint::Entry* find(std::string_view layer, int64_t in_features) const;

  model::Checkpoint file_;
  uint64_t seed_;
  std::map<std::string, const model::Checkpoint::Entry*, std::less<>> matrices_;  // by lora_name()
};

}  // namespace ctq::calibrate
