#include "optimize/rows_apart.h"

namespace ctq::optimize {

bool takes_rows_apart(const Settings& settings, const format::Codec& codec) {
  return !codec.incoherent && settings.optimizer->by_rows &&
         settings.direct.objective == DirectObjective::kMixed;
}

bool same_by_rows(const Settings& settings, const format::Codec& codec) {
  const bool shared = codec.granularity == format::Granularity::kTensor || codec.has_blocks();
  return !shared || !searches_scales(settings, codec);
}

}  // namespace ctq::optimize
