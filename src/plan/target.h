// What a weight can become: a format with its parameter, found by the words that people use for it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/codec.h"
#include "format/layout.h"
#include "optimize/optimizer.h"
#include "safetensors/header.h"

namespace ctq::plan {

/// A format with its parameter, and how its codes are found. A null codec stands for a plain type, which has
/// neither scales nor marker.
struct Target {
  const format::Codec* codec = nullptr;
  int64_t block_size = 0;         ///< 0 where the format has no blocks
  int64_t rotation_group = 0;     ///< ConvRot: columns are rotated in runs of so many; 0: not, or, where a
                                  ///< format is always rotated, kUsualRotation
  bool dynamic_rotation = false;  ///< the largest power of 4 from rotation_group on that divides the width
  const optimize::Optimizer* optimizer = nullptr;                 ///< null: the run's
  std::optional<int64_t> num_iter = {};                           ///< of learned rounding; nothing: the run's
  format::LinearDtype linear_dtype = format::LinearDtype::kInt4;  ///< of formats that take one
  safetensors::Dtype plain = safetensors::Dtype::kF16;            ///< without a codec

  /// "int8_blockwise (block 128)", "int8_tensorwise (row, convrot 256)",
  /// "convrot_w4a4 (row, convrot 256, linear int8)", "float16".
  std::string label() const;
  bool operator==(const Target&) const = default;
};

/// The target and the larger formats that stand in for it where it costs too much, smallest first: those of
/// the same recipe that stock ComfyUI loads. For NVFP4 and other 4-bit codes one of 8 bits; else the target
/// alone.
std::vector<Target> formats_from(const Target& target);

/// The codec of a type ("int8", "fp8", "nvfp4" or "mxfp8") with a scaling mode; null when the type lacks it
/// (INT8 has no block3d, NVFP4 and MXFP8 have none). An empty mode is the type's own default: block for INT8,
/// tensor for FP8.
const format::Codec* codec_of_type(std::string_view type, std::string_view scaling_mode);

/// The codec that a loader's format name stands for; null when there is none of that name, or the scaling
/// mode contradicts it. A name that stands for two (int8_tensorwise) takes the one with a scale per row,
/// which is better, unless the mode says otherwise. An empty mode contradicts nothing.
const format::Codec* codec_of_format(std::string_view format, std::string_view scaling_mode);

inline constexpr int64_t kSmallestRotation = 4;
inline constexpr int64_t kUsualRotation = 256;

/// 4, 16, 64, 256, 1024, 4096.
bool is_rotation_group(int64_t group);

/// Whether the format can hold a rotated weight.
bool takes_rotation(const format::Codec& codec);

/// Whether the format's marker says what its readers multiply in.
bool takes_linear_dtype(const format::Codec& codec);

/// The target's rotation group for a layer of that width: its own where it divides, 64 where 256 does not,
/// else 0; of a format that is always rotated the largest power of 4 up to its own that divides.
int64_t rotation_group_for(const Target& target, int64_t in_features);

/// A type without codes and scales: "float16", "bfloat16", "float32". Nothing for another word.
std::optional<safetensors::Dtype> plain_type(std::string_view word);

/// True for the words of --scaling_mode.
bool is_scaling_mode(std::string_view word);

}  // namespace ctq::plan
