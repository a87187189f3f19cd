// Banks of experts: [experts, out_features, in_features]. Every expert is a weight of its own; in the file
// their tensors are stacked on a leading dimension.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "format/codec.h"
#include "format/layout.h"

namespace ctq::format {

/// As stored_tensors() announces them, experts in front: a scale for the whole weight becomes one per expert.
/// experts: 0 for a weight that is no bank
std::vector<StoredTensor> stored_tensors_of_bank(const Codec& codec, int64_t experts, int64_t out_features,
                                                 int64_t in_features, int64_t block_size);

/// The tensors that stored_tensors_of_bank() announces, from those of every expert, which all have one
/// format. On the device of the codes.
std::vector<at::Tensor> pack_bank(std::span<const Encoded> experts);

/// marker_json() of a bank, with "num_experts" as its last key; "orig_shape" has the experts, too.
std::string bank_marker_json(const Codec& codec, int64_t block_size, int64_t experts, MarkerOptions options);

}  // namespace ctq::format
