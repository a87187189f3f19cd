#include "mover.h"

#include <algorithm>
#include <utility>

#include "format/layout.h"
#include "model/layer_names.h"

namespace ctq::rewrite {
namespace {

bool has_prefix(const quantized::QuantizedFile& file) {
  return std::ranges::any_of(file.layers, [](const quantized::Layer& layer) {
    return !model::checkpoint_prefix(layer.name).empty();
  });
}

}  // namespace

using quantized::Dialect;
using quantized::Layer;

bool Mover::rename(const model::Checkpoint::Entry* tensor, const std::string& name) {
  if (!tensor) return false;
  drop(tensor->name());
  output_.copy(*tensor, name);
  return true;
}

void Mover::mark(const std::string& layer, std::string marker) {
  const std::string name = layer + ".comfy_quant";
  drop(name);
  output_.put_text(name, marker);
  markers_[layer] = std::move(marker);
}

size_t Mover::drop_scales(const Layer& layer) {
  size_t dropped = 0;
  for (const char* role : {"scale_weight", "scale_input", "weight_scale", "input_scale"}) {
    const auto* scale = layer.side(role);
    if (scale) drop(scale->name()), ++dropped;
  }
  return dropped;
}

bool Mover::write(const std::string& path, HeaderMap map) {
  const bool left_out = map == HeaderMap::kWritten && has_prefix(file_);
  if (left_out) map = HeaderMap::kAsSource;
  metadata_.erase("_quantization_metadata");
  if (map == HeaderMap::kWritten || (map == HeaderMap::kAsSource && file_.has_header_map)) {
    for (const Layer& layer : file_.layers) {
      if (layer.dialect == Dialect::kMarker || layer.dialect == Dialect::kHeader)
        markers_.try_emplace(layer.name, layer.marker.text());
    }
    metadata_["_quantization_metadata"] = format::quantization_metadata_json(markers_);
  }
  for (const auto& entry : file_.checkpoint->entries()) {
    if (!taken_.contains(entry.name())) output_.copy(entry);
  }
  output_.write(path, metadata_);
  return left_out;
}

}  // namespace ctq::rewrite
