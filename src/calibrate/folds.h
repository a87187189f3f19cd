// Where a factor on a layer's input can be folded in, so that nothing has to divide while the model runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/checkpoint.h"

namespace ctq::calibrate {

/// Rows of a tensor that make a layer's input, channel by channel: x is proportional to t + offset.
struct FoldedRows {
  const model::Checkpoint::Entry* entry = nullptr;
  int64_t first = 0;
  int64_t rows = 0;
  float offset = 0;  ///< 1 where 1 + t is multiplied
};

/// An input that its makers can deliver divided by any factors: x_j / s_j.
struct Fold {
  enum class Into : uint8_t {
    kNorm,        ///< weight and bias of the norm right before, which nothing else reads
    kValues,      ///< the value rows before an attention output
    kUp,          ///< the rows that the activation of a gated MLP is multiplied by
    kModulation,  ///< scale and shift of a norm that conditioning modulates
  };
  Into into = Into::kNorm;
  std::string source;  ///< tells it from the others; as ImpliedInputs::source() has it, where it is implied
  std::vector<std::string> readers;  ///< all layers that read it; their columns are to be multiplied
  std::vector<FoldedRows> makers;    ///< weight first, then the bias, if there is one; of a modulation the
                                     ///< bias of its scale first
};

/// All such inputs of a checkpoint, by the family table. From headers alone. Left out: norms that a residual
/// reads too, value heads that several query heads share, modulations without bias or which all blocks share,
/// readers that are not all found as the table says.
std::vector<Fold> folds(const model::Checkpoint& checkpoint);

}  // namespace ctq::calibrate
