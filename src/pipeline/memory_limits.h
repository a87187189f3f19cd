// How much memory a run may take, and when work leaves a GPU.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace ctq::pipeline {

/// From which size on work on a layer moves from a GPU to the CPU.
struct Offload {
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  int64_t hadamard_elements = kNever;  ///< of a weight that is rotated, or of its second moment
  int64_t hessian_width = kNever;      ///< in_features, where a second moment is factored
  int64_t ldlq_width = kNever;         ///< in_features, where errors are fed back
  int64_t orthogonal_size = kNever;    ///< rows of a random orthogonal matrix
};

/// That of --streaming-mode "minimal", "balanced" or "aggressive"; of "auto" and "off" no limit but the
/// GPU's memory. Nothing for another word.
std::optional<Offload> offload_of(std::string_view streaming_mode);

/// Bounds on what one layer may take.
struct MemoryLimits {
  static constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();
  uint64_t layer_bytes = kUnlimited;  ///< of the CPU's memory for the layer that is worked on
  bool binding = false;             ///< a layer that cannot be done within is an error, before any work; else
                                    ///< it is rounded to nearest, with a warning
  uint64_t gpu_bytes = kUnlimited;  ///< the same of a GPU's; what does not fit is done on the CPU
  bool guarded = true;  ///< running out of a GPU's memory has the layer done in smaller steps, then on
                        ///< the CPU; else it ends the run
  Offload offload;
};

/// How the memory of a process is shared out.
struct MemoryShares {
  uint64_t program = 0;  ///< code's own data, libraries, headers of the model
  uint64_t waiting = 0;  ///< finished tensors that wait to be written
  uint64_t layer = 0;    ///< the layer that is worked on
  uint64_t whole() const { return program + waiting + layer; }
};
/// Of so many bytes in all; layer is 0 where they are too few.
MemoryShares shares_of(uint64_t whole);
/// The least that leaves so much for a layer.
MemoryShares shares_for_layer(uint64_t layer_bytes);

/// What can be had now without others being pushed out: of the machine, or of the control group that the
/// process is in. Nothing where /proc does not tell.
std::optional<uint64_t> available_bytes();

}  // namespace ctq::pipeline
