#include "marker_of_scale.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "format/marker_json.h"
#include "quantized/scale_tiles.h"

namespace ctq::rewrite {

std::string marker_of_scale(const quantized::Layer& layer, const std::vector<int64_t>& scale,
                            bool full_precision) {
  const std::vector<int64_t>& weight = layer.weight->info->shape;
  const std::string format = quantized::format_of_scale(layer.weight->info->dtype, weight, scale);
  if (format.empty()) {
    fail(ErrorCode::kBadInput, "layer '{}': a scale {} belongs to no format for a weight {}",
         printable(layer.name), shape_text(scale), shape_text(weight));
  }
  format::KeyChanges keys{.remove = {}, .set = {{"format", fmt::format("\"{}\"", format)}}};
  if (full_precision) keys.set.emplace_back("full_precision_matrix_mult", "true");
  const bool blocks = format.ends_with("_blockwise") || format.ends_with("_block3d");
  if (blocks) {
    const auto tiles = quantized::tiles_of_scale(scale, weight[0], weight[1]).value();
    const int64_t edge = scale.size() == 3 ? tiles.cols : std::min(tiles.rows, tiles.cols);
    keys.set.emplace_back("group_size", std::to_string(edge));
  }
  return format::edited_marker("{}", keys);
}

}  // namespace ctq::rewrite
