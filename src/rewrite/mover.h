// Builds a migrated file: layers are taken one by one, the rest is copied.
#pragma once

#include <map>
#include <set>
#include <string>

#include "quantized/layers.h"
#include "rewrite/output.h"

namespace ctq::rewrite {

/// Whether the header repeats the markers.
enum class HeaderMap : uint8_t {
  kAsSource,  ///< where it did before
  kWritten,   ///< but in a file whose layers have the prefix of a model, with which ComfyUI's loaders
              ///< understand no names there: as the source
  kLeftOut,
};

class Mover {
 public:
  explicit Mover(const quantized::QuantizedFile& file)
      : file_(file), metadata_(copied_metadata(*file.checkpoint)) {}

  Output& output() { return output_; }
  safetensors::Metadata& metadata() { return metadata_; }

  /// Leaves a tensor out of what is copied at the end.
  void drop(const std::string& name) { taken_.insert(name); }
  /// Copies a tensor under another name, where it is not null; true then.
  bool rename(const model::Checkpoint::Entry* tensor, const std::string& name);
  /// Writes the layer's marker, in place of the one that it may have.
  void mark(const std::string& layer, std::string marker);
  /// Drops the scales of a weight that was kept; their number.
  size_t drop_scales(const quantized::Layer& layer);

  /// Copies what is left and writes the file. Whether a header's map that was to be written is left out.
  bool write(const std::string& path, HeaderMap map = HeaderMap::kAsSource);

 private:
  const quantized::QuantizedFile& file_;
  Output output_;
  safetensors::Metadata metadata_;
  std::set<std::string> taken_;
  std::map<std::string, std::string> markers_;
};

}  // namespace ctq::rewrite
