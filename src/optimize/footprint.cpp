#include "ctq/optimize/footprint.h"

namespace ctq::optimize {
namespace {

/// Matrices that a product of low rank, its factors and Adam's moments come to.
constexpr double kLearned = 20, kAdaRound = 16, kQuip = 14, kOnePass = 9, kSearched = 13;

}  // namespace

Footprint footprint(const Settings& settings, const format::Codec& codec, bool rotated, int64_t in_features) {
  if (settings.method == Method::kNearest)
    return {.rows = searches_scales(settings, codec) ? kSearched : 0, .moments = 0};
  if (is_learned(settings.method)) return {.rows = kLearned, .moments = 0};
  Footprint footprint;
  footprint.rows = settings.method == Method::kAdaRound ? kAdaRound
                   : settings.method == Method::kQuip   ? kQuip
                   : searches_scales(settings, codec)   ? kSearched
                                                        : kOnePass;
  const auto segments = static_cast<double>(segments_of(settings, in_features));
  // H, its factor, and H damped; of segments their factors, and a block at a time.
  footprint.moments = segments > 1 ? 1 + 1 / segments + 2 / (segments * segments) : 3;
  if (settings.method == Method::kQuip || rotated) footprint.moments += 1;
  return footprint;
}

bool takes_rows_apart(const Settings& settings, const format::Codec& codec) {
  return !codec.incoherent && takes_moment(settings.method) && settings.method != Method::kQuip &&
         settings.direct.objective == DirectObjective::kMixed;
}

bool same_by_rows(const Settings& settings, const format::Codec& codec) {
  const bool shared = codec.granularity == format::Granularity::kTensor || codec.has_blocks();
  return !shared || !searches_scales(settings, codec);
}

bool takes_segments(const Settings& settings) {
  return takes_moment(settings.method) && settings.method != Method::kAdaRound;
}

}  // namespace ctq::optimize
