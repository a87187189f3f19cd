#include "placement.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"

namespace ctq::pipeline {
namespace {

constexpr uint64_t kLeastGpuBytes = 64 << 20;  // with less a GPU is not worth its transfers

}  // namespace

Placement::Placement(at::Device device, const MemoryLimits& limits) : device_(device), limits_(limits) {}

Place Placement::first(const plan::TensorPlan& tensor, const LayerWork& work_on_device) {
  if (device_.is_cpu()) return {at::kCPU, limits_.layer_bytes};
  if (!is_within(work_on_device, limits_.offload)) return cpu(tensor, "beyond a limit of --streaming-mode");
  if (limits_.guarded && !steps_within(work_on_device, limits_.gpu_bytes))
    return cpu(tensor, "too large for the GPU's free memory");
  return {device_, limits_.gpu_bytes};
}

std::optional<Place> Placement::next(const plan::TensorPlan& tensor, const Place& place) {
  if (place.device.is_cpu() || !limits_.guarded) return std::nullopt;
  limits_.gpu_bytes = std::min(limits_.gpu_bytes, place.layer_bytes) / 2;
  if (limits_.gpu_bytes >= kLeastGpuBytes) return Place{device_, limits_.gpu_bytes};
  return cpu(tensor, "out of memory on the GPU");
}

void Placement::fail_for(const plan::TensorPlan& tensor) const {
  if (device_.is_cpu())
    fail(ErrorCode::kFailure,
         "tensor '{}': not enough memory; bound it with --max-memory, or take fewer --threads",
         printable(tensor.source->name()));
  fail(ErrorCode::kFailure, "tensor '{}': not enough memory on {}; use --device cpu{}",
       printable(tensor.source->name()), device_.str(),
       limits_.guarded ? "" : ", or leave out --no-memory-limits");
}

Place Placement::cpu(const plan::TensorPlan& tensor, const char* reason) {
  if (++moved_ == 1)
    warn("tensor '{}' is done on the CPU ({}), as are others like it", printable(tensor.source->name()),
         reason);
  return {at::kCPU, limits_.layer_bytes};
}

}  // namespace ctq::pipeline
