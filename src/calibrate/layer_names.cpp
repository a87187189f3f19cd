#include "calibrate/layer_names.h"

#include <iterator>

#include <fmt/format.h>

#include "model/layer_names.h"

namespace ctq::calibrate {

LayerNames::LayerNames(const model::Checkpoint& checkpoint) : checkpoint_(checkpoint) {
  std::vector<std::string> names;
  for (const model::Checkpoint::Entry& entry : checkpoint.entries()) {
    if (entry.is_matrix()) by_bare_name_.emplace(model::without_model_prefixes(entry.layer()), &entry);
    names.emplace_back(model::without_model_prefixes(entry.name()));
  }
  for (const families::Naming* naming : families::namings()) foreign_.push_back(naming->map(names));
}

const model::Checkpoint::Entry* LayerNames::find(std::string_view layer) const {
  const model::Checkpoint::Entry* exact = checkpoint_.find(fmt::format("{}.weight", layer));
  if (exact && exact->is_matrix()) return exact;
  const auto [first, last] = by_bare_name_.equal_range(model::without_model_prefixes(layer));
  return first != last && std::next(first) == last ? first->second : nullptr;
}

LayerNames::Renamed LayerNames::find_renamed(std::string_view layer) const {
  Renamed found;
  for (const families::NameMap& map : foreign_) {
    for (const families::OwnName& own : map.find(model::without_model_prefixes(layer))) {
      const auto [first, last] = by_bare_name_.equal_range(own.name);
      for (auto weight = first; weight != last; ++weight) {
        if (found.weight && found.weight != weight->second) return {};
        found = {weight->second, own.part};
      }
    }
  }
  return found;
}

}  // namespace ctq::calibrate
