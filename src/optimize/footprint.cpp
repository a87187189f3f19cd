#include "ctq/optimize/footprint.h"

namespace ctq::optimize {

Footprint footprint(const Settings& settings, const Space& space) {
  return settings.optimizer->footprint(settings, space);
}

bool takes_rows_apart(const Settings& settings, const format::Codec& codec) {
  return !codec.incoherent && settings.optimizer->by_rows &&
         settings.direct.objective == DirectObjective::kMixed;
}

bool same_by_rows(const Settings& settings, const format::Codec& codec) {
  const bool shared = codec.granularity == format::Granularity::kTensor || codec.has_blocks();
  return !shared || !searches_scales(settings, codec);
}

bool takes_segments(const Settings& settings) { return settings.optimizer->by_segments; }

}  // namespace ctq::optimize
