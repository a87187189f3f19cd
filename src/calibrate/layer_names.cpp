#include "calibrate/layer_names.h"

#include <iterator>

#include <fmt/format.h>

namespace ctq::calibrate {
namespace {

constexpr std::string_view kPrefixes[] = {
    "model.diffusion_model.", "diffusion_model.", "base_model.model.", "transformer.", "unet.", "model."};

}  // namespace

std::string_view without_model_prefix(std::string_view layer) {
  for (const std::string_view prefix : kPrefixes) {
    if (layer.starts_with(prefix)) return layer.substr(prefix.size());
  }
  return layer;
}

LayerNames::LayerNames(const model::Checkpoint& checkpoint) : checkpoint_(checkpoint) {
  for (const model::Checkpoint::Entry& entry : checkpoint.entries()) {
    if (entry.is_matrix()) by_bare_name_.emplace(without_model_prefix(entry.layer()), &entry);
  }
}

const model::Checkpoint::Entry* LayerNames::find(std::string_view layer) const {
  const model::Checkpoint::Entry* exact = checkpoint_.find(fmt::format("{}.weight", layer));
  if (exact && exact->is_matrix()) return exact;
  const auto [first, last] = by_bare_name_.equal_range(without_model_prefix(layer));
  return first != last && std::next(first) == last ? first->second : nullptr;
}

}  // namespace ctq::calibrate
