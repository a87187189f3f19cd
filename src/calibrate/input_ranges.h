// How large each channel of a layer's input gets: recorded, else implied by the checkpoint.
#pragma once

#include <string_view>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "calibrate/implied.h"
#include "calibrate/recorded.h"
#include "model/checkpoint.h"

namespace ctq::calibrate {

/// Safe to use from several threads. A layer is named as model::Checkpoint::Entry::layer() names it.
class InputRanges {
 public:
  /// checkpoint  must outlive this
  /// recording   null: nothing is recorded, and the structure is asked; as above
  InputRanges(const model::Checkpoint& checkpoint, const Recording* recording)
      : implied_(checkpoint), recording_(recording) {}

  /// From headers alone.
  bool knows(std::string_view layer) const;
  bool recorded() const { return recording_ != nullptr; }

  /// Largest |x| of each channel, [in_features] float32; implied ones are |mean| + 3 deviations, which a
  /// normal channel exceeds once in 370 rows. Undefined where it is not known, or not finite.
  at::Tensor largest(std::string_view layer, at::Device device) const;

 private:
  ImpliedInputs implied_;
  const Recording* recording_;
};

}  // namespace ctq::calibrate
