// The input of --requantize.
#pragma once

#include "ctq/model/checkpoint.h"
#include "ctq/quantized/decoded_view.h"

namespace ctq::cli {

/// A quantized checkpoint as plain weights. It must outlive this.
struct DecodedInput {
  /// throws  Error(kBadInput) for a layer that no program could read
  explicit DecodedInput(const model::Checkpoint& checkpoint);

  quantized::QuantizedFile file;
  quantized::DecodedView view;
};

}  // namespace ctq::cli
