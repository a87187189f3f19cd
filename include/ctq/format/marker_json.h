// Changing the markers of a file that is already quantized.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace ctq::format {

/// The marker of a layer with `"input_scale_calibrated": true` as its last key, in the spacing of Python's
/// json.dumps; the bytes that came in when it says so already.
/// throws  Error(kBadInput) "..., not a JSON object" for anything else
std::string calibrated_marker(std::string_view marker);

/// The header's `_quantization_metadata` with that key in the markers of these layers, as far as it has them.
/// throws  Error(kBadInput): no JSON object with an object `layers`
std::string calibrated_metadata(std::string_view metadata, const std::set<std::string>& layers);

}  // namespace ctq::format
