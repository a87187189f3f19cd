#include <algorithm>
#include <array>

#include "format/codec.h"
#include "format/log_scale.h"
#include "formats.h"

namespace ctq::format {
namespace {

/// Targets first, in the order in which they are listed.
std::span<const Codec> rows() {
  static const std::array kRows{kFloat8E4M3,   kFloat8E5M2,  kFloat8Rows,  kFloat8Blocks, kFloat8Blocks3d,
                                kInt8Tensor,   kInt8Rows,    kInt8Axis,    kInt8Blocks,   kNvfp4,
                                kMxfp8,        kHybridMxfp8, kConvrotW4a4, kAsymW4a8,     kAwqW4a16,
                                kQuipHadamard, kLogScale};
  return kRows;
}

}  // namespace

std::span<const Codec> registry() {
  static const auto kTargets = static_cast<size_t>(std::ranges::count(rows(), true, &Codec::target));
  return rows().first(kTargets);
}

const Codec* find_codec(std::string_view format, Granularity granularity) {
  const auto found = std::ranges::find_if(
      rows(), [&](const Codec& codec) { return codec.format == format && codec.granularity == granularity; });
  return found == rows().end() ? nullptr : &*found;
}

const Codec& quip_codec() { return *std::ranges::find(rows(), true, &Codec::incoherent); }

const Codec& log_scale_codec() {
  return *std::ranges::find(rows(), ScaleType::kLogarithmic, &Codec::scale_type);
}

}  // namespace ctq::format
