// Changing the markers of a file that is already quantized.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ctq::format {

/// The marker of a layer with `"input_scale_calibrated": true` as its last key, in the spacing of Python's
/// json.dumps; the bytes that came in when it says so already.
/// throws  Error(kBadInput) "..., not a JSON object" for anything else
std::string calibrated_marker(std::string_view marker);

/// The header's `_quantization_metadata` with that key in the markers of these layers, as far as it has them.
/// throws  Error(kBadInput): no JSON object with an object `layers`
std::string calibrated_metadata(std::string_view metadata, const std::set<std::string>& layers);

/// Changes to the keys of markers: those to delete, then those to set, each with its value as JSON text.
struct KeyChanges {
  std::vector<std::string> remove;
  std::vector<std::pair<std::string, std::string>> set;
};

/// The marker after the changes, spaced as Python's json.dumps; the bytes that came in when nothing changes.
/// A key that is set keeps its place, or comes last.
/// throws  Error(kBadInput) "..., not a JSON object"
std::string edited_marker(std::string_view marker, const KeyChanges& changes);

/// The keys of a JSON object, or of `'key': value, 'key2': value2` with values true, false, null, numbers,
/// lists, objects and text in single or double quotes; each value as JSON text.
/// throws  Error(kUsage) saying where the text is neither
std::vector<std::pair<std::string, std::string>> parse_key_values(std::string_view text);

/// The marker with the keys of its object "params" at the top level, where they do not stand already.
std::string flattened_marker(std::string_view marker);

}  // namespace ctq::format
