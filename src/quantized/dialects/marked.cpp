// Layers with a marker: comfy_quant tensors and the header's map.
#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "model/layer_names.h"
#include "quantized/dialects.h"

namespace ctq::quantized {
namespace {

using Entry = model::Checkpoint::Entry;
using safetensors::Dtype;

constexpr std::string_view kMetadataKey = "_quantization_metadata";

/// Why the tensor can be no marker; empty when it can.
std::string shape_fault(const Entry& entry) {
  // ComfyUI looks at the bytes alone.
  if (entry.info->dtype != Dtype::kU8 && entry.info->dtype != Dtype::kI8)
    return fmt::format("comfy_quant is {} {}, not U8 with one dimension",
                       safetensors::dtype_name(entry.info->dtype), shape_text(entry.info->shape));
  if (entry.info->bytes() > kMaxMarkerBytes)
    return fmt::format("comfy_quant is {} long, which no marker is", human_bytes(entry.info->bytes()));
  return "";
}

void find_in_header(Search& search) {
  const auto text = search.metadata().find(std::string(kMetadataKey));
  if (text == search.metadata().end()) return;
  std::map<std::string, format::Marker> markers;
  try {
    markers = format::header_markers(text->second);
  } catch (const Error& error) {
    search.found.header_fault = fmt::format("{} {}", kMetadataKey, error.what());
    return;
  }
  search.found.has_header_map = !markers.empty();
  for (auto& [name, marker] : markers) {
    const auto known = search.layers.find(name);
    Layer& layer = known == search.layers.end() ? search.add(name, Dialect::kHeader) : known->second;
    layer.marker_differs =
        layer.dialect == Dialect::kMarker && layer.marker_fault.empty() && !(layer.marker == marker);
    layer.marker_fault.clear();
    layer.marker = std::move(marker);
    layer.format = layer.marker.format();
  }
}

}  // namespace

void find_marked(Search& search) {
  for (const Entry& entry : search.entries()) {
    const std::string_view name = model::without_suffix(entry.name(), ".comfy_quant");
    if (name.empty()) continue;
    Layer& layer = search.add(std::string(name), Dialect::kMarker);
    layer.marker_fault = shape_fault(entry);
    if (!layer.marker_fault.empty()) continue;
    try {
      layer.marker = format::Marker::parse(text_of(entry));
    } catch (const Error& error) {
      layer.marker_fault = fmt::format("comfy_quant {}", error.what());
    }
    layer.format = layer.marker.format();
  }
  find_in_header(search);
}

}  // namespace ctq::quantized
