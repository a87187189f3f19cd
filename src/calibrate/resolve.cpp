#include "calibrate/resolve.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace ctq::calibrate {
namespace {

using families::Activation;
using families::Input;
using families::LinearPart;
using families::Norm;
using families::Structure;
using Entry = model::Checkpoint::Entry;

/// Where a pattern lies in a layer's name.
struct Place {
  std::string_view prefix;  ///< ends in a dot, or is empty
  int64_t block = 0;
};

bool all_digits(std::string_view text) {
  return !text.empty() && text.size() <= 9 &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

/// pattern: with one '#'.
std::optional<Place> place_of(std::string_view name, std::string_view pattern) {
  const size_t index = pattern.find('#');
  const std::string_view head = pattern.substr(0, index), tail = pattern.substr(index + 1);
  if (!name.ends_with(tail)) return std::nullopt;
  name.remove_suffix(tail.size());
  const size_t digits = name.find_last_not_of("0123456789") + 1;
  const std::string_view number = name.substr(digits);
  name = name.substr(0, digits);
  if (!all_digits(number) || !name.ends_with(head)) return std::nullopt;
  name.remove_suffix(head.size());
  if (!name.empty() && name.back() != '.') return std::nullopt;
  return Place{name, std::stoll(std::string(number))};
}

std::string name_at(const Place& place, std::string_view pattern) {
  std::string name(place.prefix);
  for (const char c : pattern) {
    if (c == '#' || c == '<') {
      name += std::to_string(place.block - (c == '<' ? 1 : 0));
    } else {
      name += c;
    }
  }
  return name;
}

bool is_float(const Entry& entry) {
  using safetensors::Dtype;
  const Dtype dtype = entry.info->dtype;
  return dtype == Dtype::kF64 || dtype == Dtype::kF32 || dtype == Dtype::kF16 || dtype == Dtype::kBF16;
}

/// The checkpoint's headers, read for one layer.
class LayerSearch {
 public:
  LayerSearch(const model::Checkpoint& checkpoint, std::string_view layer)
      : checkpoint_(checkpoint), layer_(layer) {
    const Entry* weight = part_of(layer, "weight");
    if (weight && weight->info->shape.size() == 2) in_features_ = weight->info->shape[1];
  }

  std::optional<Source> find_in(std::span<const Structure* const> structures) const {
    return first_that_fits<Source>(structures, &Structure::inputs);
  }

  std::optional<ModulatedSource> find_modulated_in(std::span<const Structure* const> structures) const {
    return first_that_fits<ModulatedSource>(structures, &Structure::modulated);
  }

 private:
  template <typename Found, typename Row>
  std::optional<Found> first_that_fits(std::span<const Structure* const> structures,
                                       std::span<const Row> Structure::*rows) const {
    if (in_features_ <= 0) return std::nullopt;
    for (const Structure* structure : structures) {
      if (!structure) continue;
      for (const Row& row : structure->*rows) {
        for (const std::string_view pattern : row.layers) {
          const auto place = pattern.empty() ? std::nullopt : place_of(layer_, pattern);
          if (!place || !has_names(*structure, *place)) continue;
          Found source;
          if (!fits(row, *place, source)) continue;
          source.readers = readers(row.layers, *place);
          return source;
        }
      }
    }
    return std::nullopt;
  }

  bool fits(const families::ModulatedInput& input, const Place& place, ModulatedSource& source) const {
    if (!input.norm.empty()) {
      source.norm = vector(name_at(place, input.norm) + ".weight");
      return source.norm && source.norm->info->shape[0] == in_features_;
    }
    return take_linear(input.scale, place, source.scale) && take_linear(input.shift, place, source.shift) &&
           source.scale.rows == in_features_ && source.scale.bias;
  }

  /// torch's MultiheadAttention calls its joined tensors in_proj_weight and in_proj_bias.
  const Entry* part_of(std::string_view name, std::string_view part) const {
    const Entry* entry = checkpoint_.find(fmt::format("{}.{}", name, part));
    return entry ? entry : checkpoint_.find(fmt::format("{}_{}", name, part));
  }

  bool has_names(const Structure& structure, const Place& place) const {
    const auto has = [&](std::string_view name) { return checkpoint_.find(name_at(place, name)) != nullptr; };
    return std::ranges::all_of(structure.present, [&](auto name) { return name.empty() || has(name); }) &&
           std::ranges::none_of(structure.absent, [&](auto name) { return !name.empty() && has(name); });
  }

  bool fits(const Input& input, const Place& place, Source& source) const {
    source.input = &input;
    return take_linear(input.values, place, source.values) && take_linear(input.gate, place, source.gate) &&
           take_linear(input.up, place, source.up) && take_norm(input, place, source) &&
           widths_fit(input, place, source);
  }

  std::vector<std::string> readers(std::span<const std::string_view> layers, const Place& place) const {
    std::vector<std::string> names;
    for (const std::string_view pattern : layers) {
      if (pattern.empty()) continue;
      if (std::string name = name_at(place, pattern); part_of(name, "weight"))
        names.push_back(std::move(name));
    }
    return names;
  }

  /// A vector of floats, or null.
  const Entry* vector(const std::string& name) const {
    const Entry* entry = checkpoint_.find(name);
    return entry && entry->info->shape.size() == 1 && is_float(*entry) ? entry : nullptr;
  }

  bool take_norm(const Input& input, const Place& place, Source& source) const {
    if (input.norm.name.empty()) {
      source.width = source.gate.weight->info->shape[1];
      return true;
    }
    const bool first = place.block == 0 && !input.norm.before.empty();
    source.norm_name = name_at(place, first ? input.norm.before : input.norm.name);
    source.norm_weight = vector(source.norm_name + ".weight");
    source.norm_bias = vector(source.norm_name + ".bias");
    if (!source.norm_weight || (input.norm.kind == Norm::kLayer) != (source.norm_bias != nullptr))
      return false;
    source.width = source.norm_weight->info->shape[0];
    return source.width > 0 && (!source.norm_bias || source.norm_bias->info->shape[0] == source.width);
  }

  bool take_linear(const LinearPart& part, const Place& place, LinearSource& linear) const {
    if (part.name.empty()) return true;
    linear.name = name_at(place, part.name);
    linear.weight = part_of(linear.name, "weight");
    linear.bias = part_of(linear.name, "bias");
    if (!linear.weight || linear.weight->info->shape.size() != 2 || !is_float(*linear.weight)) return false;
    const int64_t out_features = linear.weight->info->shape[0];
    linear.rows = out_features / part.parts;
    linear.first = linear.rows * part.part;
    return linear.rows > 0 && linear.rows * part.parts == out_features &&
           (!linear.bias ||
            (is_float(*linear.bias) && linear.bias->info->shape == std::vector{out_features}));
  }

  bool widths_fit(const Input& input, const Place& place, Source& source) const {
    if (input.width != 0 && source.width != input.width) return false;
    for (const LinearSource* linear : {&source.values, &source.gate, &source.up}) {
      if (linear->weight && linear->weight->info->shape[1] != source.width) return false;
    }
    if (source.values.weight) return value_heads_fit(input, place, source);
    if (source.up.weight && source.up.rows != source.gate.rows) return false;
    return in_features_ == (source.gate.weight ? source.gate.rows : source.width);
  }

  bool value_heads_fit(const Input& input, const Place& place, Source& source) const {
    const int64_t values = source.values.rows;
    if (values == in_features_) return true;
    if (in_features_ % values != 0 || input.head_norm.empty()) return false;
    const Entry* head_norm = vector(name_at(place, input.head_norm) + ".weight");
    source.value_head = head_norm ? head_norm->info->shape[0] : families::head_size(source.width, values);
    source.value_repeats = in_features_ / values;
    return source.value_head > 0 && values % source.value_head == 0;
  }

  const model::Checkpoint& checkpoint_;
  std::string_view layer_;
  int64_t in_features_ = 0;
};

std::string_view activation_name(Activation activation) {
  switch (activation) {
    case Activation::kNone: break;
    case Activation::kRelu: return "relu";
    case Activation::kGelu: return "gelu";
    case Activation::kGeluTanh: return "gelu_tanh";
    case Activation::kQuickGelu: return "quick_gelu";
    case Activation::kSilu: return "silu";
  }
  return "";
}

}  // namespace

std::optional<Source> resolve_in(std::span<const Structure* const> structures,
                                 const model::Checkpoint& checkpoint, std::string_view layer) {
  return LayerSearch(checkpoint, layer).find_in(structures);
}

std::optional<Source> resolve(const model::Checkpoint& checkpoint, std::string_view layer) {
  return resolve_in(families::structures(), checkpoint, layer);
}

std::optional<ModulatedSource> resolve_modulated(const model::Checkpoint& checkpoint,
                                                 std::string_view layer) {
  return LayerSearch(checkpoint, layer).find_modulated_in(families::structures());
}

std::string words(const Source& source) {
  const std::string norm = source.norm_weight ? fmt::format("norm {}", source.norm_name)
                                              : std::string("a norm without parameters");
  if (source.values.weight) return fmt::format("values {} after {}", source.values.name, norm);
  if (!source.gate.weight) return norm;
  const std::string gate =
      fmt::format("{} of {}", activation_name(source.input->activation), source.gate.name);
  if (!source.up.weight) return fmt::format("{} after {}", gate, norm);
  return source.up.name == source.gate.name ? fmt::format("{}, gated, after {}", gate, norm)
                                            : fmt::format("{} times {} after {}", gate, source.up.name, norm);
}

}  // namespace ctq::calibrate
