#include "calibrate/layer_names.h"

#include <iterator>

#include <fmt/format.h>

#include "model/layer_names.h"

namespace ctq::calibrate {

LayerNames::LayerNames(const model::Checkpoint& checkpoint) : checkpoint_(checkpoint) {
  for (const model::Checkpoint::Entry& entry : checkpoint.entries()) {
    if (entry.is_matrix()) by_bare_name_.emplace(model::without_model_prefixes(entry.layer()), &entry);
  }
}

const model::Checkpoint::Entry* LayerNames::find(std::string_view layer) const {
  const model::Checkpoint::Entry* exact = checkpoint_.find(fmt::format("{}.weight", layer));
  if (exact && exact->is_matrix()) return exact;
  const auto [first, last] = by_bare_name_.equal_range(model::without_model_prefixes(layer));
  return first != last && std::next(first) == last ? first->second : nullptr;
}

}  // namespace ctq::calibrate
