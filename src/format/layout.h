// How a quantized layer is named and marked in a file: the comfy layout, and the older scaled-FP8 one.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "format/codec.h"

namespace ctq::format {

enum class Layout : uint8_t {
  kComfy,   ///< <layer>.weight_scale and <layer>.comfy_quant
  kLegacy,  ///< <layer>.scale_weight, and one `scaled_fp8` tensor for FP8 files
};

/// "blocks.0.to_q.weight" -> "blocks.0.to_q". The name must end in ".weight".
std::string layer_of(std::string_view weight_name);

/// The name of a layer's tensor: side_name("blocks.0.to_q", "weight_scale", kLegacy) ==
/// "blocks.0.to_q.scale_weight".
std::string side_name(std::string_view layer, std::string_view role, Layout layout);

/// What convrot_w4a4's readers multiply in: they quantize the layer's input to INT4 as the weight is, or to
/// INT8 with the weight's codes as INT8 numbers.
enum class LinearDtype : uint8_t { kInt4, kInt8 };

/// What a layer's marker says beyond its format.
struct MarkerOptions {
  bool full_precision_matrix_mult = false;
  int64_t rotation_group = 0;  ///< of ConvRot; 0: not rotated
  int64_t out_features = 0;    ///< of the weight, for formats that store it padded
  int64_t in_features = 0;
  LinearDtype linear_dtype = LinearDtype::kInt4;  ///< of convrot_w4a4
};

/// The bytes of <layer>.comfy_quant, key order and spacing as Python's json.dumps writes them:
/// {"format": "int8_blockwise", "group_size": 128}.
std::string marker_json(const Codec& codec, int64_t block_size, MarkerOptions options);

/// The value of the header's `_quantization_metadata`: {"format_version": "1.0", "layers": {"<layer>":
/// <marker>, ...}}. markers: layer -> marker_json().
std::string quantization_metadata_json(const std::map<std::string, std::string>& markers);

}  // namespace ctq::format
