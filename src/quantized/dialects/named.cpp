// Dialects that are only recognised: their codes lie in orders made for a kernel, or what is needed to decode
// them does not stand in the file. And codes beside tensors of unknown meaning.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/text.h"
#include "model/layer_names.h"
#include "quantized/dialects.h"

namespace ctq::quantized {
namespace {

using Entry = model::Checkpoint::Entry;

struct Program {
  std::string_view codes;   ///< role of the tensor with the codes
  std::string_view beside;  ///< role of a tensor that only this program has
  std::string_view name;
};

constexpr Program kPrograms[] = {
    {"qweight", "wscales", "nunchaku (SVDQuant)"},
    {"qweight", "weight_scales", "EETQ"},
    {"qweight", "lookup_table", "SqueezeLLM"},
    {"q_weight", "q_scale", "ExLlamaV2 (EXL2)"},
    {"trellis", "svh", "ExLlamaV3 (EXL3)"},
    {"codes", "codebooks", "AQLM"},
    {"Qidxs", "SU", "QuIP#"},
    {"B", "s", "Marlin"},
    {"weight_packed", "meta", "compressed-tensors (marlin-24)"},
    {"compressed", "bitmask", "compressed-tensors (sparse)"},
    {"indices", "centroids.weight", "VPTQ"},
    {"weight_packed", "weight_bitmask", "compressed-tensors (sparse)"},
};

/// Words in the names of tensors that say how codes are read.
constexpr std::array<std::string_view, 9> kWords = {"scale", "zero", "quant", "absmax", "codebook",
                                                    "shift", "qmap", "scb",   "lut"};

bool speaks_of_codes(std::string_view role) {
  const std::string lower = lower_case(role);
  return std::ranges::any_of(kWords,
                             [&](std::string_view word) { return lower.find(word) != std::string::npos; });
}

/// The tensors `<name>.<role>` and `<name>.weight.<role>` that speak of codes.
std::vector<const Entry*> beside(const Search& search, const std::string& name) {
  constexpr std::array<std::string_view, 2> kOfInputs = {"input_scale", "scale_input"};
  std::vector<const Entry*> found;
  for (const Entry& entry : search.beginning_with(name + ".")) {
    std::string_view role = std::string_view(entry.name()).substr(name.size() + 1);
    if (role == "weight" || search.is_claimed(entry)) continue;
    if (role.starts_with("weight.")) role.remove_prefix(7);
    if (role.find('.') != std::string_view::npos || std::ranges::count(kOfInputs, role) > 0) continue;
    if (speaks_of_codes(role)) found.push_back(&entry);
  }
  return found;
}

}  // namespace

void find_named(Search& search) {
  for (const Program& program : kPrograms) {
    for (const Entry& entry : search.entries()) {
      const std::string name(model::without_suffix(entry.name(), fmt::format(".{}", program.codes)));
      const bool codes = !safetensors::is_float(entry.info->dtype);
      if (name.empty() || !codes || !search.find(fmt::format("{}.{}", name, program.beside))) continue;
      Layer* layer = search.add_foreign(Dialect::kNamed, entry, name + ".weight", {program.beside});
      if (!layer) continue;
      layer->program = program.name;
      layer->plain_shape = entry.info->shape;
      layer->fault = "this version does not decode it";
      for (const Entry& part : search.beginning_with(name + ".")) {
        const std::string_view role = std::string_view(part.name()).substr(name.size() + 1);
        if (role != "bias" && role.find('.') == std::string_view::npos)
          search.attach(*layer, role, part.name());
      }
    }
  }
}

void find_unknown(Search& search) {
  for (const Entry& entry : search.entries()) {
    const std::string name(entry.layer());
    if (name.empty() || !is_byte_code(entry.info->dtype) || entry.info->bytes() == 0 ||
        search.is_claimed(entry) || search.has_layer(name))
      continue;
    const std::vector<const Entry*> others = beside(search, name);
    if (others.empty()) continue;
    Layer* layer = search.add_foreign(Dialect::kUnknown, entry, entry.name(), {});
    if (!layer) continue;
    layer->plain_shape = entry.info->shape;
    layer->fault = fmt::format("{} codes beside '{}', whose meaning is not known here",
                               safetensors::dtype_name(entry.info->dtype), printable(others.front()->name()));
    for (const Entry* part : others)
      search.attach(*layer, std::string_view(part->name()).substr(name.size() + 1), part->name());
  }
}

}  // namespace ctq::quantized
