// A file that may hold quantized layers.
#pragma once

#include <optional>
#include <string>

#include "model/checkpoint.h"
#include "names/renamed_view.h"
#include "quantized/layers.h"

namespace ctq::engine {

/// A checkpoint with its quantized layers. Not movable: the second refers to the first.
struct OpenedFile {
  explicit OpenedFile(const std::string& path, safetensors::Shard shard = safetensors::Shard::kIsItsSet)
      : checkpoint(model::Checkpoint::open(path, shard)), quantized(quantized::find_layers(checkpoint)) {}
  /// What `converted` may have been made of: under ComfyUI's names where that one has them.
  OpenedFile(const std::string& path, const model::Checkpoint& converted);
  OpenedFile(const OpenedFile&) = delete;
  OpenedFile& operator=(const OpenedFile&) = delete;

  model::Checkpoint checkpoint;
  std::optional<names::RenamedView> renamed;
  quantized::QuantizedFile quantized;  ///< of these names, else of the checkpoint
};

}  // namespace ctq::engine
