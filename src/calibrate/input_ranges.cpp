#include "calibrate/input_ranges.h"

#include <ATen/ATen.h>

namespace ctq::calibrate {
namespace {

constexpr double kDeviations = 3;
constexpr int64_t kRows = 1024;  // the diagonal of H is known well enough
constexpr uint64_t kSeed = 0;

}  // namespace

bool InputRanges::knows(std::string_view layer) const {
  return recording_ ? recording_->has_channel_max(layer) : implied_.form(layer).kind != Implied::kNothing;
}

at::Tensor InputRanges::largest(std::string_view layer, at::Device device) const {
  if (recording_) {
    const auto input = recording_->load(layer, device);
    return input ? input->channel_max : at::Tensor();
  }
  const auto moments = implied_.moments(layer, kSeed, kRows, device);
  if (!moments) return {};
  const at::Tensor variance = (moments->second.diagonal() - moments->mean.square()).clamp_min(0);
  return moments->mean.abs() + kDeviations * variance.sqrt();
}

}  // namespace ctq::calibrate
