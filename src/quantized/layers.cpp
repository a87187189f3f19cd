#include "ctq/quantized/layers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ctq/base/error.h"
#include "ctq/base/text.h"
#include "ctq/model/layer_names.h"
#include "ctq/quantized/scale_tiles.h"

namespace ctq::quantized {
namespace {

using model::Checkpoint;
using model::without_suffix;
using safetensors::Dtype;
using Entry = Checkpoint::Entry;

/// Last components of the names of tensors that belong to a quantized layer.
constexpr std::array<std::string_view, 21> kRoles = {
    "comfy_quant",   "weight_scale",     "weight_scale_2",    "input_scale",       "pre_quant_scale",
    "weight_s_rel",  "weight_s_channel", "weight_codebook",   "weight_correction", "weight_zeros",
    "weight_scalar", "scale_weight",     "scale_input",       "smooth_factors",    "quip_s_u",
    "quip_s_v",      "hadamard_quip",    "hadamard_size_out", "hadamard_size_in",  "sign_row",
    "sign_col"};

/// Of these, the ones that mean nothing without a quantized weight.
constexpr std::array<std::string_view, 6> kNeverAlone = {"comfy_quant", "weight_scale", "weight_scale_2",
                                                         "input_scale", "scale_weight", "scale_input"};

constexpr std::string_view kMetadataKey = "_quantization_metadata";

bool is_fp8(Dtype dtype) { return dtype == Dtype::kF8E4M3 || dtype == Dtype::kF8E5M2; }

/// "a.b" and "weight" of "a.b.weight"; the first is empty when there is no dot.
std::pair<std::string_view, std::string_view> split(std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return {"", name};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

/// "scaled_fp8" or "<prefix>.scaled_fp8".
bool is_scaled_fp8(std::string_view name) { return split(name).second == "scaled_fp8"; }

/// Finds the layers of one checkpoint, one dialect after the other: the first that claims a weight has it.
class Search {
 public:
  explicit Search(const Checkpoint& checkpoint) : checkpoint_(checkpoint) { found_.checkpoint = &checkpoint; }

  QuantizedFile run() {
    take_markers();
    const bool has_markers = !layers_.empty();
    for (const Entry& entry : checkpoint_.entries())
      if (is_scaled_fp8(entry.name())) found_.scaled_fp8.push_back(entry.name());
    found_.tokens = found_.scaled_fp8;
    if (!has_markers && has_log_scales()) {
      take_log_scales();
    } else if (!found_.has_header_map) {
      take_scaled_fp8();
    }
    take_unmarked();
    take_raw();
    for (auto& [name, layer] : layers_) found_.layers.push_back(std::move(layer));
    collect_strays();
    return std::move(found_);
  }

 private:
  Layer& add(std::string name, Dialect dialect) {
    Layer& layer = layers_[name];
    layer.dialect = dialect;
    layer.weight = checkpoint_.find(name + ".weight");
    for (const std::string_view role : kRoles) {
      if (const Entry* side = checkpoint_.find(fmt::format("{}.{}", name, role)))
        layer.sides[std::string(role)] = side;
    }
    layer.name = std::move(name);
    return layer;
  }

  void take_markers() {
    for (const Entry& entry : checkpoint_.entries()) {
      const std::string_view name = without_suffix(entry.name(), ".comfy_quant");
      if (name.empty()) continue;
      Layer& layer = add(std::string(name), Dialect::kMarker);
      if (entry.info->dtype != Dtype::kU8 || entry.info->shape.size() != 1) {
        layer.marker_fault =
            fmt::format("comfy_quant is {} {}, not U8 with one dimension",
                        safetensors::dtype_name(entry.info->dtype), shape_text(entry.info->shape));
        continue;
      }
      try {
        layer.marker = format::Marker::parse(text_of(entry));
      } catch (const Error& error) {
        layer.marker_fault = fmt::format("comfy_quant {}", error.what());
      }
      layer.format = layer.marker.format();
    }
    take_header();
  }

  void take_header() {
    const auto text = checkpoint_.metadata().find(std::string(kMetadataKey));
    if (text == checkpoint_.metadata().end()) return;
    std::map<std::string, format::Marker> markers;
    try {
      markers = format::header_markers(text->second);
    } catch (const Error& error) {
      found_.header_fault = fmt::format("{} {}", kMetadataKey, error.what());
      return;
    }
    found_.has_header_map = !markers.empty();
    for (auto& [name, marker] : markers) {
      const auto known = layers_.find(name);
      Layer& layer = known == layers_.end() ? add(name, Dialect::kHeader) : known->second;
      layer.marker_differs =
          layer.dialect == Dialect::kMarker && layer.marker_fault.empty() && !(layer.marker == marker);
      layer.marker_fault.clear();
      layer.marker = std::move(marker);
      layer.format = layer.marker.format();
    }
  }

  /// A later program of the same origin writes 32 there, beside ordinary scales.
  bool has_log_scales() const {
    const Entry* declared = checkpoint_.find("scale_format");
    if (!declared) return false;
    const std::string bytes = text_of(*declared);
    return declared->info->dtype != Dtype::kU8 || bytes.size() != 1 || bytes[0] == 8;
  }

  void take_log_scales() {
    LogScales scales;
    found_.tokens.emplace_back("scale_format");
    if (const auto text = checkpoint_.metadata().find("ctq.scale8"); text != checkpoint_.metadata().end())
      declare(scales, text->second);
    for (const Entry& entry : checkpoint_.entries()) {
      const std::string name(without_suffix(entry.name(), ".scale_weight"));
      const Entry* weight = name.empty() ? nullptr : checkpoint_.find(name + ".weight");
      if (!weight) continue;
      if (is_fp8(weight->info->dtype)) {
        add(name, Dialect::kLogScales).format = "float8_e4m3fn";
        continue;
      }
      // A scale beside a kept weight means nothing, but its code, which stands for 1, tells the range.
      found_.tokens.push_back(entry.name());
      const std::string code = text_of(entry);
      constexpr char kOneInWideRange = static_cast<char>(170);  // 10^(170 / 255 * 18 - 12) = 1
      if (!scales.declared && code.size() == 1 && code[0] == kOneInWideRange)
        scales.log10_min = -12, scales.log10_max = 6;
    }
    found_.log_scales = scales;
  }

  void declare(LogScales& scales, const std::string& text) {
    const nlohmann::json value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    const auto number = [&](const char* key) {
      const auto found = value.is_object() ? value.find(key) : value.end();
      return found != value.end() && found->is_number() ? found->get<double>() : NAN;
    };
    const double low = number("log10_min"), high = number("log10_max");
    const std::string meaning = value.is_object() && value.contains("meaning") && value["meaning"].is_string()
                                    ? value["meaning"].get<std::string>()
                                    : "";
    if (!(low < high) || (meaning != "dequant" && meaning != "multiplier")) {
      found_.header_fault = "ctq.scale8 needs log10_min, log10_max and meaning (dequant or multiplier)";
      return;
    }
    scales = {.log10_min = low, .log10_max = high, .multiplier = meaning == "multiplier", .declared = true};
  }

  /// Every scale under the prefix of a `scaled_fp8` tensor. A scale without a weight is a stray.
  void take_scaled_fp8() {
    for (const std::string& marker : found_.scaled_fp8) {
      const std::string_view prefix = without_suffix(marker, "scaled_fp8");
      for (const Entry& entry : checkpoint_.entries()) {
        const std::string name(without_suffix(entry.name(), ".scale_weight"));
        if (name.empty() || !name.starts_with(prefix) || layers_.contains(name)) continue;
        const Entry* weight = checkpoint_.find(name + ".weight");
        if (!weight) continue;
        add(name, Dialect::kScaledFp8).format =
            weight->info->dtype == Dtype::kF8E5M2 ? "float8_e5m2" : "float8_e4m3fn";
      }
    }
  }

  void take_unmarked() {
    for (const Entry& entry : checkpoint_.entries()) {
      const std::string name(entry.layer());
      const bool codes = is_fp8(entry.info->dtype) || entry.info->dtype == Dtype::kI8;
      if (name.empty() || !codes || layers_.contains(name)) continue;
      const Entry* scale = checkpoint_.find(name + ".scale_weight");
      if (!scale) scale = checkpoint_.find(name + ".weight_scale");
      if (!scale) continue;
      add(name, Dialect::kUnmarked).format =
          format_of_scale(entry.info->dtype, entry.info->shape, scale->info->shape);
    }
  }

  void take_raw() {
    for (const Entry& entry : checkpoint_.entries()) {
      if (!is_fp8(entry.info->dtype) || std::ranges::count(found_.tokens, entry.name()) > 0) continue;
      const auto [base, last] = split(entry.name());
      if (std::ranges::count(kRoles, last) > 0 || layers_.contains(std::string(entry.layer()))) continue;
      Layer& layer = add(entry.layer().empty() ? entry.name() : std::string(entry.layer()), Dialect::kRaw);
      layer.weight = &entry;
      layer.format = entry.info->dtype == Dtype::kF8E5M2 ? "float8_e5m2" : "float8_e4m3fn";
      if (entry.layer().empty()) layer.sides.clear();
    }
  }

  void collect_strays() {
    for (const Entry& entry : checkpoint_.entries()) {
      const auto [base, last] = split(entry.name());
      if (std::ranges::count(kNeverAlone, last) == 0 || std::ranges::count(found_.tokens, entry.name()) > 0)
        continue;
      if (!found_.find(base)) found_.strays.push_back(entry.name());
    }
  }

  const Checkpoint& checkpoint_;
  std::map<std::string, Layer> layers_;
  QuantizedFile found_;
};

int64_t packed_columns(const Layer& layer) {
  const int64_t stored = layer.weight->info->shape.back();
  if (layer.format == "nvfp4" || layer.format == "convrot_w4a4" || layer.format == "awq_w4a16")
    return 2 * stored;
  if (layer.format != "asym_w4a8_int8") return stored;
  // Four bits or six: the group scales tell.
  const Entry* scales = layer.side("weight_s_rel");
  const int64_t group = layer.marker.integer("group_size", 16).value_or(0);
  if (!scales || scales->info->shape.empty() || group < 1) return 2 * stored;
  return scales->info->shape.back() * group;
}

}  // namespace

std::string_view dialect_name(Dialect dialect) {
  constexpr std::array<std::string_view, 6> kNames = {"comfy_quant", "header",    "scaled_fp8",
                                                      "log scales",  "no marker", "raw"};
  return kNames.at(static_cast<size_t>(dialect));
}

const Entry* Layer::side(std::string_view role) const {
  const auto found = sides.find(role);
  return found == sides.end() ? nullptr : found->second;
}

const Entry* Layer::scale() const {
  const bool legacy_first = dialect != Dialect::kMarker && dialect != Dialect::kHeader;
  const Entry *current = side("weight_scale"), *legacy = side("scale_weight");
  return legacy_first && legacy ? legacy : current ? current : legacy;
}

bool Layer::has_codes() const {
  return weight && !safetensors::is_float(weight->info->dtype) &&
         safetensors::dtype_bits(weight->info->dtype) <= 8;
}

int64_t Layer::rotation_group() const {
  const bool rotated = format == "convrot_w4a4" || format == "asym_w4a8_int8" || marker.flag("convrot");
  return rotated ? marker.integer("convrot_groupsize", 256).value_or(0) : 0;
}

std::vector<int64_t> Layer::shape() const {
  if (std::vector<int64_t> said = marker.original_shape(); said.size() == 2 || said.size() == 3) return said;
  if (!weight) return {};
  std::vector<int64_t> stored = weight->info->shape;
  if (stored.size() >= 2) stored.back() = packed_columns(*this);
  return stored;
}

const Layer* QuantizedFile::find(std::string_view layer) const {
  const auto at = std::ranges::lower_bound(layers, layer, {},
                                           [](const Layer& each) -> std::string_view { return each.name; });
  return at != layers.end() && at->name == layer ? &*at : nullptr;
}

const Layer* QuantizedFile::of_weight(const Entry& entry) const {
  const Layer* layer = find(entry.layer().empty() ? std::string_view(entry.name()) : entry.layer());
  return layer && layer->weight == &entry ? layer : nullptr;
}

bool QuantizedFile::is_side(std::string_view tensor) const {
  if (std::ranges::count(tokens, tensor) > 0 || std::ranges::count(strays, tensor) > 0) return true;
  const auto [base, last] = split(tensor);
  const Layer* layer = find(base);
  return layer && layer->sides.contains(last);
}

QuantizedFile find_layers(const Checkpoint& checkpoint) { return Search(checkpoint).run(); }

std::string format_of_scale(Dtype codes, const std::vector<int64_t>& weight,
                            const std::vector<int64_t>& scale) {
  const bool int8 = codes == Dtype::kI8,
             one_scale = std::ranges::all_of(scale, [](int64_t n) { return n == 1; });
  if (one_scale) return int8 ? "int8_tensorwise" : codes == Dtype::kF8E5M2 ? "float8_e5m2" : "float8_e4m3fn";
  if (weight.size() != 2) return "";
  const auto tiles = tiles_of_scale(scale, weight[0], weight[1]);
  if (!tiles) return "";
  if (scale.size() == 3) return int8 ? "int8_blockwise" : "float8_e4m3fn_block3d";
  if (tiles->rows > 1 || tiles->cols < weight[1]) return int8 ? "int8_blockwise" : "float8_e4m3fn_blockwise";
  if (!int8) return "float8_e4m3fn_rowwise";
  return scale.size() == 1 ? "int8_axiswise" : "int8_tensorwise";
}

std::string text_of(const Entry& entry) {
  const auto bytes = entry.file->bytes(*entry.info);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace ctq::quantized
