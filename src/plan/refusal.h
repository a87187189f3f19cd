// Inputs that no plan is made for.
#pragma once

#include <string_view>

#include "model/checkpoint.h"

namespace ctq::plan {

/// throws  Error(kBadInput) naming a quantized layer of the checkpoint, if it has one; way_out: the end of
/// the message, where no dialect has another
void refuse_quantized(const model::Checkpoint& checkpoint, std::string_view way_out);

}  // namespace ctq::plan
