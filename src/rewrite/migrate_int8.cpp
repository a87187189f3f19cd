#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "format/marker_json.h"
#include "linalg/tiles.h"
#include "mover.h"
#include "quantized/scale_tiles.h"
#include "rewrite/migrate.h"

namespace ctq::rewrite {
namespace {

using quantized::Dialect;
using quantized::Layer;
using Entry = model::Checkpoint::Entry;
using Shape = std::vector<int64_t>;

/// Whether the largest code of every tile is 127, as scales of the largest magnitude make it. Zero tiles tell
/// nothing.
bool reaches_127(const at::Tensor& codes, linalg::Tiling tiles) {
  const at::Tensor most = linalg::tile_amax(codes.to(at::kFloat), tiles);
  return (most.eq(127).logical_or(most.eq(0))).all().item<bool>();
}

/// Whether there are as many scales as square blocks of that edge.
bool fits_blocks(const Layer& layer, const Entry& scale, int64_t block) {
  const Shape& weight = layer.weight->info->shape;
  return weight[0] % block == 0 && weight[1] % block == 0 &&
         (weight[0] / block) * (weight[1] / block) == scale.info->shape[0];
}

/// Scales in one dimension: of rows, or of square blocks written flat. Where their number fits both, the
/// codes decide.
Shape unflattened(const Layer& layer, const Entry& scale, int64_t block) {
  const Shape& weight = layer.weight->info->shape;
  const int64_t count = scale.info->shape[0];
  const bool rows_fit = count == weight[0];
  if (!fits_blocks(layer, scale, block) ||
      (rows_fit && reaches_127(model::load(*layer.weight), {1, weight[1]})))
    return rows_fit ? Shape{count, 1} : scale.info->shape;
  return {weight[0] / block, weight[1] / block};
}

/// Several scales in one dimension.
bool is_flat(const Layer& layer, const Entry& scale) {
  const Shape& shape = scale.info->shape;
  return layer.weight->info->shape.size() == 2 && shape.size() == 1 && shape[0] != 1;
}

bool is_int8(const Layer& layer) {
  return layer.weight && layer.weight->info->dtype == safetensors::Dtype::kI8 && layer.scale() &&
         !layer.is_quip();
}

/// The format and group size that the scale's shape stands for.
format::KeyChanges keys_for(const Layer& layer, const Shape& scale) {
  const Shape& weight = layer.weight->info->shape;
  const std::string format = quantized::format_of_scale(safetensors::Dtype::kI8, weight, scale);
  if (format.empty()) {
    fail(ErrorCode::kBadInput, "layer '{}': a scale {} belongs to no format for a weight {}",
         printable(layer.name), shape_text(scale), shape_text(weight));
  }
  format::KeyChanges keys{.remove = {"per_row"}, .set = {{"format", fmt::format("\"{}\"", format)}}};
  if (format != "int8_blockwise") {
    keys.remove.emplace_back("group_size");
    return keys;
  }
  const auto tiles = quantized::tiles_of_scale(scale, weight[0], weight[1]).value();
  const int64_t edge = scale.size() == 3 ? tiles.cols : std::min(tiles.rows, tiles.cols);
  keys.set.emplace_back("group_size", std::to_string(edge));
  return keys;
}

/// Whether the marker may be made anew from the scale. Others, of formats with rules of their own, stay.
bool may_relabel(const Layer& layer) {
  return layer.dialect == Dialect::kUnmarked || layer.format.empty() || layer.format == "int8_tensorwise" ||
         layer.format == "int8_blockwise";
}

}  // namespace

Migrated int8_to_comfy(const quantized::QuantizedFile& file, const MigrationOptions& options,
                       const std::string& path) {
  Migrated done;
  Mover mover(file);
  for (const Layer& layer : file.layers) {
    if (!is_int8(layer) || !may_relabel(layer) || !layer.marker_fault.empty()) continue;
    const bool unmarked = layer.dialect == Dialect::kUnmarked;
    const Entry& scale = *layer.scale();
    const bool flat = is_flat(layer, scale);
    const Shape shape = flat ? unflattened(layer, scale, options.block_size) : scale.info->shape;
    const format::KeyChanges keys = keys_for(layer, shape);
    const bool right =
        !unmarked && "\"" + layer.format + "\"" == keys.set.front().second && shape == scale.info->shape;
    if (right) continue;
    done.asked += flat && fits_blocks(layer, scale, options.block_size);
    mover.drop(scale.name());
    mover.output().copy_as(scale, layer.name + ".weight_scale", shape);
    const bool has_input =
        mover.rename(layer.side("scale_input"), layer.name + ".input_scale") || layer.side("input_scale");
    if (!has_input && options.unit_input_scales)
      mover.output().put_scalar(layer.name + ".input_scale", 1), ++done.added;
    mover.mark(layer.name, format::edited_marker(layer.marker.text(), keys));
    ++done.layers;
  }
  if (done.layers == 0) {
    fail(ErrorCode::kBadInput,
         "{}: has no INT8 layer without a marker, or with one that contradicts its scale",
         file.checkpoint->path());
  }
  done.map_left_out = mover.write(path, options.save_metadata ? HeaderMap::kWritten : HeaderMap::kAsSource);
  return done;
}

}  // namespace ctq::rewrite
