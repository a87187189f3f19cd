// From one dialect of quantized files to another: codes and scales keep their bytes, names and markers
// change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "quantized/layers.h"

namespace ctq::rewrite {

/// What the modes share. Each mode says which of these it looks at.
struct MigrationOptions {
  bool unit_input_scales = false;           ///< adds an input scale of 1.0 where there is none
  bool full_precision_matrix_mult = false;  ///< in every marker
  std::function<bool(const std::string& layer)> high_precision;  ///< layers that must not be FP8; null: none
  int64_t block_size = 128;     ///< of scales in one dimension that stand for blocks
  bool save_metadata = false;   ///< also writes the header's map of the markers
  int64_t marker_elements = 0;  ///< of `scaled_fp8`: 0 or 2
  bool comfy_layout = false;    ///< markers rather than `scaled_fp8`
  std::optional<quantized::QuantizedFile::ScaleOrder> scale_order;  ///< where the file does not tell
  const quantized::QuantizedFile* tensor_scales = nullptr;  ///< where scales of whole weights are taken from
};

struct Migrated {
  size_t layers = 0;          ///< rewritten
  size_t dropped = 0;         ///< scales that belong to no FP8 weight
  size_t added = 0;           ///< scales that were not there
  size_t asked = 0;           ///< layers that block_size or scale_order told something of
  bool map_left_out = false;  ///< the header's map of the markers, because of prefixes
};

/// Writes `output` and returns what was done. All modes copy every tensor that they do not name, and the
/// header's metadata but for the map of the markers.
///
/// throws  Error(kBadInput): the file is not of the kind that the mode rewrites, or a scale fits no layout;
///         see safetensors::Writer
using Migration = Migrated (*)(const quantized::QuantizedFile& file, const MigrationOptions& options,
                               const std::string& output);

/// `scaled_fp8` to markers, the format by the scale's shape. Scales beside weights that are not FP8 are
/// dropped. Two elements of `scaled_fp8` become full_precision_matrix_mult.
/// options  unit_input_scales, full_precision_matrix_mult, high_precision, save_metadata
/// throws   also Error(kFailure) with the list of FP8 layers that should be of high precision
Migrated fp8_to_comfy(const quantized::QuantizedFile& file, const MigrationOptions& options,
                      const std::string& output);

/// E4M3 layers with one scale to `scaled_fp8`. What the legacy layout cannot say is refused.
Migrated comfy_to_fp8(const quantized::QuantizedFile& file, const MigrationOptions& options,
                      const std::string& output);

/// INT8 without markers, or with markers that contradict their scales, to markers: one scale, or one per row,
/// are `int8_tensorwise`, blocks `int8_blockwise`. Scales of [out_features] become [out_features, 1], where
/// the codes do not tell that they are of blocks. options  unit_input_scales, block_size, save_metadata
Migrated int8_to_comfy(const quantized::QuantizedFile& file, const MigrationOptions& options,
                       const std::string& output);

/// `scale_input` of 1.0 for the layers of a `scaled_fp8` file that lack it; the marker gets one element.
Migrated add_input_scales(const quantized::QuantizedFile& file, const MigrationOptions& options,
                          const std::string& output);

/// Drops scales beside weights that are not FP8, and writes `scaled_fp8`.
/// options  marker_elements, unit_input_scales
Migrated clean_fp8(const quantized::QuantizedFile& file, const MigrationOptions& options,
                   const std::string& output);

/// One-byte logarithmic scales to float32 ones, in the legacy layout or with markers.
/// options  comfy_layout
Migrated log_scales_to_f32(const quantized::QuantizedFile& file, const MigrationOptions& options,
                           const std::string& output);

/// mxfp8 to hybrid_mxfp8: `weight_scalar` is the layer's largest block scale, or the largest scale that the
/// other file has for it.
/// options  tensor_scales
Migrated make_hybrid_mxfp8(const quantized::QuantizedFile& file, const MigrationOptions& options,
                           const std::string& output);

/// Markers for codes that have scales only, in whatever dialect: one scale, rows or blocks by the scale's
/// shape, NVFP4 and MXFP8 in either order, which become ComfyUI's. Scales become float32. Scales that belong
/// to no codes are dropped. options  scale_order, full_precision_matrix_mult, save_metadata
Migrated add_markers(const quantized::QuantizedFile& file, const MigrationOptions& options,
                     const std::string& output);

}  // namespace ctq::rewrite
