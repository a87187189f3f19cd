// On which device a layer is worked on, and within how much of its memory.
#pragma once

#include <cstdint>
#include <exception>
#include <optional>

#include <c10/core/Device.h>

#include "layer_memory.h"
#include "linalg/device.h"

namespace ctq::pipeline {

struct Place {
  at::Device device = at::kCPU;
  uint64_t layer_bytes = MemoryLimits::kUnlimited;  ///< of the device's memory
};

class Placement {
 public:
  /// device: of the run
  Placement(at::Device device, const MemoryLimits& limits);

  /// The run's device; the CPU for a layer that is beyond the limits of a GPU, or does not fit there. The
  /// first such layer is logged as a warning.
  Place first(const plan::TensorPlan& tensor, const LayerWork& work_on_device);

  /// After memory ran out there: half of it, for later layers too; then the CPU. Nothing where there is no
  /// other place.
  std::optional<Place> next(const plan::TensorPlan& tensor, const Place& place);

  /// Calls work(place) with first(), and with next() as long as it runs out of memory.
  /// throws  Error(kFailure) naming the tensor where no place is left
  template <typename Work>
  auto in_room(const plan::TensorPlan& tensor, const LayerWork& work_on_device, const Work& work) {
    for (std::optional<Place> place = first(tensor, work_on_device);;) {
      try {
        return work(*place);
      } catch (const std::exception& error) {
        if (!linalg::is_out_of_memory(error)) throw;
        place = next(tensor, *place);
      }
      if (!place) fail_for(tensor);
      linalg::free_cached_memory(device_);
    }
  }

  /// Layers that were sent to the CPU.
  size_t moved() const { return moved_; }

 private:
  [[noreturn]] void fail_for(const plan::TensorPlan& tensor) const;
  Place cpu(const plan::TensorPlan& tensor, const char* reason);

  at::Device device_;
  MemoryLimits limits_;
  size_t moved_ = 0;
};

}  // namespace ctq::pipeline
