// The sides of a layer's weight: a matrix, or a bank of experts.
#pragma once

#include <cstdint>

#include "model/checkpoint.h"

namespace ctq::model {

struct WeightShape {
  int64_t experts = 0;  ///< 0: it is no bank
  int64_t out_features = 0;
  int64_t in_features = 0;
};

/// entry: [out_features, in_features], or [experts, out_features, in_features]
inline WeightShape weight_shape(const Checkpoint::Entry& entry) {
  const auto sides = entry.info->shape.end();
  return {.experts = entry.info->shape.size() == 3 ? entry.info->shape[0] : 0,
          .out_features = sides[-2],
          .in_features = sides[-1]};
}

}  // namespace ctq::model
