// What ComfyUI makes of a weight.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "client/loader.h"

namespace ctq::client {

struct Stored {
  std::string_view layer;  ///< with the prefix of its part
  std::span<const int64_t> shape;
  std::string_view format;
  int64_t rotation_group = 0;  ///< of ConvRot; 0: not rotated
};

/// For a format that it knows. By its sources (comfy/ops.py, model_detection.py, sd.py) and by running it.
Obstacle comfyui_obstacle(const Client& client, const families::Parts& parts, const Stored& stored);

}  // namespace ctq::client
