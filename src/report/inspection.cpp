#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "families/parts.h"
#include "report/file_report.h"

namespace ctq::report {
namespace {

using nlohmann::ordered_json;
using quantized::Layer;
using quantized::QuantizedFile;
using Entry = model::Checkpoint::Entry;

constexpr size_t kLongestValue = 200;

bool is_wanted(const InspectionParts& parts, const std::string& name) {
  return !parts.wanted || parts.wanted(name);
}

/// Tensors and bytes that share a word.
struct Count {
  size_t count = 0;
  uint64_t bytes = 0;
};

struct Totals {
  std::map<std::string, Count> by_dtype, by_format;
  size_t tensors = 0;
  uint64_t bytes = 0;
};

uint64_t layer_bytes(const Layer& layer) {
  uint64_t bytes = layer.weight ? layer.weight->info->bytes() : 0;
  for (const auto& [role, side] : layer.sides) bytes += side->info->bytes();
  return bytes;
}

std::string format_word(const Layer& layer) {
  return layer.format.empty() ? "unknown" : printable(layer.format, 40);
}

Totals totals(const QuantizedFile& file, const InspectionParts& parts) {
  Totals sums;
  for (const Entry& entry : file.checkpoint->entries()) {
    if (!is_wanted(parts, entry.name())) continue;
    ++sums.tensors, sums.bytes += entry.info->bytes();
    Count& dtype = sums.by_dtype[std::string(safetensors::dtype_name(entry.info->dtype))];
    ++dtype.count, dtype.bytes += entry.info->bytes();
  }
  for (const Layer& layer : file.layers) {
    if (!is_wanted(parts, layer.name)) continue;
    Count& format = sums.by_format[fmt::format("{} ({})", format_word(layer), layer.dialect_label())];
    ++format.count, format.bytes += layer_bytes(layer);
  }
  return sums;
}

/// "weight_scale F32 [64, 1]" and the like, the marker left out.
std::string sides_text(const Layer& layer) {
  std::string text;
  for (const auto& [role, side] : layer.sides) {
    if (role == "comfy_quant") continue;
    text += fmt::format(", {} {} {}", role, safetensors::dtype_name(side->info->dtype),
                        shape_text(side->info->shape));
  }
  return text;
}

/// What the marker says beyond its format.
std::string flags_text(const Layer& layer) {
  std::string text;
  if (layer.rotation_group() > 0) text += fmt::format(", convrot {}", layer.rotation_group());
  if (layer.is_quip()) text += ", transformed by QuIP";
  const auto group = layer.marker.integer("group_size", 0);
  if (group && *group > 0) text += fmt::format(", groups of {}", *group);
  if (layer.marker.word("linear_dtype", "") == "int8") text += ", linear int8";
  if (layer.marker.flag("full_precision_matrix_mult")) text += ", full precision";
  if (!layer.marker_fault.empty()) text += ", " + printable(layer.marker_fault);
  if (!layer.fault.empty()) text += ", not decoded: " + layer.fault;
  return text;
}

std::string layer_line(const Layer& layer) {
  const std::string weight = layer.weight
                                 ? fmt::format("{} {}", safetensors::dtype_name(layer.weight->info->dtype),
                                               shape_text(layer.weight->info->shape))
                                 : "no weight";
  return fmt::format("{:<60} {:<24} {:<12} {}{}{}\n", printable(layer.name, 60), format_word(layer),
                     layer.dialect_label(), weight, sides_text(layer), flags_text(layer));
}

families::Parts parts_of(const model::Checkpoint& checkpoint) {
  return families::Parts(checkpoint.names(),
                         [&](std::string_view tensor) { return checkpoint.find(tensor)->info->shape; });
}

std::string summary_text(const QuantizedFile& file, const InspectionParts& parts) {
  const Totals sums = totals(file, parts);
  std::string text = fmt::format("{} tensors, {}\n", sums.tensors, human_bytes(sums.bytes));
  for (const auto& [dtype, count] : sums.by_dtype)
    text += fmt::format("  {:<40} {:>6} tensors  {:>10}\n", dtype, count.count, human_bytes(count.bytes));
  if (!sums.by_format.empty()) text += "Quantized layers, with their scales:\n";
  for (const auto& [format, count] : sums.by_format)
    text += fmt::format("  {:<40} {:>6} layers   {:>10}\n", format, count.count, human_bytes(count.bytes));
  const families::Parts models = parts_of(*file.checkpoint);
  for (const families::Part& part : models.all()) {
    if (part.family)
      text += fmt::format("{} {}{}{}\n",
                          part.prefix.empty() ? "Names of" : printable(part.prefix) + "*: names of",
                          part.family->title, part.family->preset ? ": --" : "",
                          part.family->preset ? part.family->preset->name : "");
  }
  return text;
}

ordered_json tensor_json(const safetensors::TensorInfo& info) {
  return {{"dtype", safetensors::dtype_name(info.dtype)}, {"shape", info.shape}, {"bytes", info.bytes()}};
}

ordered_json layer_json(const Layer& layer) {
  ordered_json json = {{"name", layer.name},
                       {"format", layer.format},
                       {"dialect", layer.dialect_label()},
                       {"marker", ordered_json::parse(layer.marker.text())},
                       {"shape", layer.shape()},
                       {"weight", layer.weight ? tensor_json(*layer.weight->info) : ordered_json(nullptr)},
                       {"sides", ordered_json::object()}};
  for (const auto& [role, side] : layer.sides) json["sides"][role] = tensor_json(*side->info);
  if (!layer.marker_fault.empty()) json["marker_fault"] = layer.marker_fault;
  return json;
}

std::string_view preset_of(const families::Parts& parts) {
  const families::Part* main = parts.adapter() ? nullptr : parts.main();
  return main && main->family->preset ? main->family->preset->name : std::string_view();
}

ordered_json counts_json(const std::map<std::string, Count>& counts, const char* what) {
  ordered_json json = ordered_json::object();
  for (const auto& [name, count] : counts) json[name] = {{what, count.count}, {"bytes", count.bytes}};
  return json;
}

}  // namespace

std::string inspection_text(const QuantizedFile& file, const InspectionParts& parts,
                            const std::vector<verify::Finding>* findings) {
  std::string text;
  if (parts.tensors) {
    for (const Entry& entry : file.checkpoint->entries()) {
      if (!is_wanted(parts, entry.name())) continue;
      text += fmt::format("{:<70} {:<8} {:<20} {:>14}\n", printable(entry.name(), 70),
                          safetensors::dtype_name(entry.info->dtype), shape_text(entry.info->shape),
                          entry.info->bytes());
    }
  }
  if (parts.layers) {
    std::string lines;
    for (const Layer& layer : file.layers)
      if (is_wanted(parts, layer.name)) lines += layer_line(layer);
    text += lines.empty() ? "no quantized layers\n" : lines;
  }
  if (parts.metadata) {
    for (const auto& [key, value] : file.checkpoint->metadata())
      text += fmt::format("{}: {}\n", printable(key), printable(value, kLongestValue));
  }
  if (parts.summary) text += summary_text(file, parts);
  if (findings) {
    for (const verify::Finding& finding : *findings) {
      if (!finding.refused) continue;
      text += fmt::format("problem: {}{}{}\n", printable(finding.subject),
                          finding.subject.empty() ? "" : ": ", finding.text);
    }
    if (!verify::is_refused(*findings)) text += "no problems\n";
  }
  return text;
}

std::string inspection_json(const QuantizedFile& file, const InspectionParts& parts,
                            const std::vector<verify::Finding>* findings) {
  ordered_json json = {{"path", file.checkpoint->path()}, {"file_bytes", file.checkpoint->bytes()}};
  if (parts.tensors) {
    json["tensors"] = ordered_json::array();
    for (const Entry& entry : file.checkpoint->entries()) {
      if (!is_wanted(parts, entry.name())) continue;
      json["tensors"].push_back({{"name", entry.name()}});
      json["tensors"].back().update(tensor_json(*entry.info));
    }
  }
  if (parts.layers) {
    json["layers"] = ordered_json::array();
    for (const Layer& layer : file.layers)
      if (is_wanted(parts, layer.name)) json["layers"].push_back(layer_json(layer));
  }
  if (parts.metadata) json["metadata"] = file.checkpoint->metadata();
  if (parts.summary) {
    const Totals sums = totals(file, parts);
    json["summary"] = {{"tensors", sums.tensors},
                       {"bytes", sums.bytes},
                       {"dtypes", counts_json(sums.by_dtype, "tensors")},
                       {"formats", counts_json(sums.by_format, "layers")},
                       {"preset", preset_of(parts_of(*file.checkpoint))}};
  }
  if (findings) {
    json["problems"] = ordered_json::array();
    for (const verify::Finding& finding : *findings)
      if (finding.refused) json["problems"].push_back({{"subject", finding.subject}, {"text", finding.text}});
  }
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace ctq::report
