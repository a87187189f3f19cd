#include "quantized/layers.h"

#include <algorithm>
#include <array>
#include <utility>

#include "dialects.h"
#include "quantized/scale_tiles.h"

namespace ctq::quantized {
namespace {

using model::Checkpoint;
using safetensors::Dtype;
using Entry = Checkpoint::Entry;

/// Names of tensors that mean nothing without a quantized weight: last components.
constexpr std::array<std::string_view, 9> kNeverAlone = {
    "comfy_quant", "weight_scale", "weight_scale_2",    "input_scale",     "scale_weight",
    "scale_input", "SCB",          "weight_zero_point", "weight_scale_inv"};

/// "scaled_fp8" or "<prefix>.scaled_fp8".
bool is_scaled_fp8(std::string_view name) { return split_name(name).second == "scaled_fp8"; }

void collect_strays(Search& search) {
  QuantizedFile& found = search.found;
  for (const Entry& entry : search.entries()) {
    if (std::ranges::count(kNeverAlone, split_name(entry.name()).second) > 0 &&
        std::ranges::count(found.tokens, entry.name()) == 0 && !found.parts.contains(entry.name()))
      found.strays.push_back(entry.name());
  }
}

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

std::string_view Layer::dialect_label() const {
  return program.empty() ? dialect_name(dialect) : std::string_view(program);
}

std::string Layer::plain_name() const { return tensor.empty() ? name + ".weight" : tensor; }

const Entry* Layer::side(std::string_view role) const {
  const auto found = sides.find(role);
  return found == sides.end() ? nullptr : found->second;
}

const Entry* Layer::scale() const {
  if (!scale_role.empty()) return side(scale_role);
  const bool legacy_first = dialect != Dialect::kMarker && dialect != Dialect::kHeader;
  const Entry *current = side("weight_scale"), *legacy = side("scale_weight");
  return legacy_first && legacy ? legacy : current ? current : legacy;
}

bool Layer::has_codes() const {
  if (is_foreign(dialect)) return weight != nullptr;
  return weight && !safetensors::is_float(weight->info->dtype) &&
         safetensors::dtype_bits(weight->info->dtype) <= 8;
}

int64_t Layer::rotation_group() const {
  const bool rotated = format == "convrot_w4a4" || format == "asym_w4a8_int8" || marker.flag("convrot");
  return rotated ? marker.integer("convrot_groupsize", 256).value_or(0) : 0;
}

std::vector<int64_t> Layer::shape() const {
  if (is_foreign(dialect)) return plain_shape;
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
  const auto at = weights.find(entry.name());
  return at != weights.end() && layers[at->second].weight == &entry ? &layers[at->second] : nullptr;
}

bool QuantizedFile::is_side(std::string_view name) const {
  return parts.contains(name) || std::ranges::count(tokens, name) > 0 || std::ranges::count(strays, name) > 0;
}

QuantizedFile find_layers(const Checkpoint& checkpoint) {
  Search search(checkpoint);
  for (const Entry& entry : search.entries())
    if (is_scaled_fp8(entry.name())) search.found.scaled_fp8.push_back(entry.name());
  search.found.tokens = search.found.scaled_fp8;
  for (const DialectRow& row : dialects())
    if (row.find) row.find(search);
  QuantizedFile& found = search.found;
  for (auto& [name, layer] : search.layers) {
    if (layer.weight) found.weights.emplace(layer.weight->name(), found.layers.size());
    for (const auto& [role, side] : layer.sides) found.parts.emplace(side->name(), found.layers.size());
    found.layers.push_back(std::move(layer));
  }
  collect_strays(search);
  return std::move(found);
}

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
