// Changing what the markers of a quantized file say.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>

#include "format/marker_json.h"
#include "quantized/layers.h"

namespace ctq::rewrite {

struct Edits {
  format::KeyChanges keys;
  std::function<bool(const std::string& layer)> layers;         ///< whose markers change; null: all
  std::function<bool(const std::string& tensor)> drop_tensors;  ///< null: none
  bool save_metadata = false;  ///< the header's map is made anew from the markers, and markers that only the
                               ///< header has become tensors; left out of a file whose layers have the prefix
                               ///< of a model, with which ComfyUI's loaders understand no names there
};

struct Edited {
  size_t layers = 0;                           ///< with a marker
  size_t changed = 0;                          ///< of these
  size_t skipped = 0;                          ///< by the filter
  size_t created = 0;                          ///< marker tensors that only the header had
  size_t dropped = 0;                          ///< tensors
  bool map_left_out = false;                   ///< the header's map, because of prefixes
  std::map<std::string, size_t> removed, set;  ///< markers by key
};

/// Writes a copy with other markers, tensors and header alike. All other tensors keep their bytes.
/// throws  Error(kBadInput): no layer with a marker where markers are to change, a marker that is no JSON
/// object; see safetensors::Writer
Edited edit(const quantized::QuantizedFile& file, const Edits& edits, const std::string& output);

}  // namespace ctq::rewrite
