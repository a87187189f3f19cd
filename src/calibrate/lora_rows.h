// Rows that a LoRA's A matrices suggest as inputs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>

#include "model/checkpoint.h"

namespace ctq::calibrate {

/// A layer's name as LoRAs and models can be compared by it: without one prefix of a model and one of a LoRA,
/// '.' for '_', lower case.
std::string lora_name(std::string_view layer);

/// Safe to use from several threads.
class LoraRows {
 public:
  /// Finds the A matrices of a file, in every dialect of lora::part_of().
  /// throws  Error(kBadInput): unreadable, or there are none
  LoraRows(const std::string& path, uint64_t seed);

  /// [A; A + 0.1 n; A + 0.2 n'; -A] / std of the layer's A, [4 rank, in_features] float32; undefined when the
  /// LoRA has none for it. The same seed gives the same rows for a layer.
  /// throws  Error(kBadInput): an A of exactly this name and another width
  at::Tensor rows(std::string_view layer, int64_t in_features) const;

  /// Whether the LoRA has an A for the layer; what rows() throws.
  bool has(std::string_view layer, int64_t in_features) const { return find(layer, in_features) != nullptr; }

  /// A^T A over the mean of its diagonal, [in_features, in_features] float32: how much each direction of the
  /// layer's input matters to the LoRA. Undefined where it has none; throws as rows().
  at::Tensor directions(std::string_view layer, int64_t in_features) const;

  size_t size() const { return matrices_.size(); }
  /// " (the first is '...')".
  std::string example() const;

 private:
  const model::Checkpoint::Entry* find(std::string_view layer, int64_t in_features) const;

  at::Tensor load(const model::Checkpoint::Entry& entry) const;  // finite, float32

  model::Checkpoint file_;
  uint64_t seed_;
  std::map<std::string, const model::Checkpoint::Entry*, std::less<>> matrices_;  // by lora_name()
};

}  // namespace ctq::calibrate
