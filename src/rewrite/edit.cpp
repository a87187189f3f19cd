#include "rewrite/edit.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "format/layout.h"
#include "model/layer_names.h"
#include "rewrite/output.h"

namespace ctq::rewrite {
namespace {

using quantized::Dialect;
using quantized::Layer;

bool is_marked(const Layer& layer) {
  return layer.dialect == Dialect::kMarker || layer.dialect == Dialect::kHeader;
}

/// The marker that a client follows, in the bytes of the tensor where that is the one.
std::string marker_text(const Layer& layer) {
  if (!layer.marker_fault.empty())
    fail(ErrorCode::kBadInput, "layer '{}': {}", printable(layer.name), layer.marker_fault);
  const auto* tensor = layer.side("comfy_quant");
  return tensor && !layer.marker_differs ? quantized::text_of(*tensor) : layer.marker.text();
}

bool has_prefix(const std::map<std::string, std::string>& markers) {
  return std::ranges::any_of(
      markers, [](const auto& layer) { return !model::checkpoint_prefix(layer.first).empty(); });
}

}  // namespace

Edited edit(const quantized::QuantizedFile& file, const Edits& edits, const std::string& path) {
  Edited done;
  std::map<std::string, std::string> texts;  // of all marked layers
  std::map<std::string, std::string> in_header;
  for (const Layer& layer : file.layers) {
    if (!is_marked(layer)) continue;
    ++done.layers;
    const std::string before = marker_text(layer);
    std::string& after = texts[layer.name] = before;
    if (edits.layers && !edits.layers(layer.name)) {
      ++done.skipped;
      continue;
    }
    for (const std::string& key : edits.keys.remove) done.removed[key] += layer.marker.has(key);
    after = format::edited_marker(before, edits.keys);
    if (after == before) continue;
    ++done.changed;
    for (const auto& [key, value] : edits.keys.set) ++done.set[key];
  }
  const bool of_markers = !edits.keys.remove.empty() || !edits.keys.set.empty() || edits.save_metadata;
  if (done.layers == 0 && (of_markers || !edits.drop_tensors))
    fail(ErrorCode::kBadInput, "{}: holds no layer with a marker '<layer>.comfy_quant'",
         file.checkpoint->path());

  Output output;
  for (const auto& entry : file.checkpoint->entries()) {
    if (edits.drop_tensors && edits.drop_tensors(entry.name())) {
      ++done.dropped;
      continue;
    }
    const std::string_view name = entry.name();
    const size_t end =
        name.ends_with(".comfy_quant") ? name.size() - std::string_view(".comfy_quant").size() : 0;
    const auto text = end > 0 ? texts.find(std::string(name.substr(0, end))) : texts.end();
    if (text == texts.end()) {
      output.copy(entry);
    } else {
      output.put_text(entry.name(), text->second);
    }
  }
  for (const Layer& layer : file.layers) {
    if (layer.dialect == Dialect::kHeader && edits.save_metadata) {
      output.put_text(layer.name + ".comfy_quant", texts.at(layer.name));
      ++done.created;
    }
  }
  safetensors::Metadata metadata = copied_metadata(*file.checkpoint);
  if (edits.save_metadata && has_prefix(texts)) {
    metadata.erase("_quantization_metadata");
    done.map_left_out = true;
  } else if (edits.save_metadata) {
    metadata["_quantization_metadata"] = format::quantization_metadata_json(texts);
  } else if (const auto header = metadata.find("_quantization_metadata"); header != metadata.end()) {
    if (!file.header_fault.empty())
      fail(ErrorCode::kBadInput, "{}: {}", file.checkpoint->path(), file.header_fault);
    for (const auto& [layer, marker] : format::header_markers(header->second))
      in_header[layer] = texts.at(layer);
    header->second = format::quantization_metadata_json(in_header);
  }
  output.write(path, metadata);
  return done;
}

}  // namespace ctq::rewrite
