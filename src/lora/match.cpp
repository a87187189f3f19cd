#include "lora/match.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/text.h"
#include "families/foreign_names.h"
#include "model/layer_names.h"
#include "other_names.h"

namespace ctq::lora {
namespace {

using Entry = model::Checkpoint::Entry;

std::string with_underscores(std::string_view name) {
  std::string flat(name);
  std::ranges::replace(flat, '.', '_');
  return flat;
}

std::string_view without_prefixes(std::string_view layer) {
  layer = model::without_model_prefixes(layer);
  layer.remove_prefix(model::adapter_prefix(layer).size());
  return model::without_model_prefixes(layer);
}

/// Other spellings of a name with '_' for '.': older diffusers files name the attention's processor, and its
/// output projection without the index that the module has.
std::vector<std::string> respelled(const std::string& flat) {
  std::vector<std::string> spellings;
  constexpr std::string_view kProcessor = "_processor_";
  std::string name = flat;
  if (const size_t at = name.find(kProcessor); at != std::string::npos) {
    name.replace(at, kProcessor.size(), "_");
    spellings.push_back(name);
  }
  if (name.ends_with("_to_out")) spellings.push_back(name + "_0");
  return spellings;
}

/// A layer of the model by name: what ends in ".weight", or a parameter of its own.
struct Target {
  const Entry* entry = nullptr;
  bool whole = true;
  Rows rows;
  families::Values values = families::Values::kSame;

  std::string_view layer() const { return entry->layer().empty() ? entry->name() : entry->layer(); }
  /// Whether a change of so many rows and elements in each can be one of it.
  bool holds(int64_t of_rows, int64_t per_row) const {
    const std::vector<int64_t>& shape = entry->info->shape;
    const int64_t all = shape.empty() ? 1 : shape[0];
    if (all == 0 || (per_row > 0 && entry->info->numel() != all * per_row)) return false;
    return whole ? all == of_rows : all >= of_rows;
  }
  bool same_place(const Target& other) const {
    return entry == other.entry && whole == other.whole && rows.from_end == other.rows.from_end &&
           rows.index == other.rows.index;
  }
};

class ModelNames {
 public:
  explicit ModelNames(const model::Checkpoint& model) : model_(model) {
    std::vector<std::string> bare_names;
    for (const Entry& entry : model.entries()) {
      if (entry.name().ends_with(".bias")) continue;
      const std::string_view bare =
          model::without_model_prefixes(Target{.entry = &entry, .rows = {}}.layer());
      bare_.emplace(bare, &entry);
      flat_.emplace(with_underscores(bare), &entry);
      bare_names.emplace_back(model::without_model_prefixes(entry.name()));
    }
    for (const families::Naming* naming : families::namings()) foreign_.push_back(naming->map(bare_names));
  }

  std::vector<Target> exact(std::string_view layer) const {
    const Entry* entry = model_.find(fmt::format("{}.weight", layer));
    if (!entry) entry = model_.find(layer);
    if (!entry) return {};
    return {{.entry = entry, .rows = {}}};
  }
  std::vector<Target> bare(std::string_view layer) const { return find(bare_, layer); }
  std::vector<Target> flat(std::string_view layer) const { return find(flat_, layer); }
  std::vector<Target> flat(const std::vector<OtherName>& names) const {
    std::vector<Target> targets;
    for (const OtherName& other : names) {
      for (Target target : flat(other.name)) {
        target.whole = other.whole, target.rows = other.rows, target.values = other.values;
        const auto same = [&](const Target& known) { return known.same_place(target); };
        if (std::ranges::none_of(targets, same)) targets.push_back(target);
      }
    }
    return targets;
  }
  /// Where a layer lies that has another library's name.
  std::vector<Target> foreign(std::string_view layer) const {
    std::vector<OtherName> names;
    for (const families::NameMap& map : foreign_)
      std::ranges::move(own_names(map, layer), std::back_inserter(names));
    return flat(names);
  }

 private:
  using Names = std::multimap<std::string, const Entry*, std::less<>>;
  static std::vector<Target> find(const Names& names, std::string_view layer) {
    std::vector<Target> targets;
    const auto [first, last] = names.equal_range(layer);
    for (auto found = first; found != last; ++found) targets.push_back({.entry = found->second, .rows = {}});
    return targets;
  }

  const model::Checkpoint& model_;
  Names bare_, flat_;
  std::vector<families::NameMap> foreign_;
};

/// What the rules find, each in turn. The first that finds one of the layer's shape ends it; without that the
/// first that finds anything.
std::vector<Target> targets_of(const AdapterLayer& layer, const ModelNames& model) {
  const std::string_view bare = without_prefixes(layer.name);
  const std::string flat = with_underscores(bare);
  std::vector<Target> several;
  const auto decides = [&](std::vector<Target> found) {
    std::vector<Target> fitting;
    std::ranges::copy_if(found, std::back_inserter(fitting),
                         [&](const Target& target) { return target.holds(layer.rows, layer.per_row); });
    if (fitting.size() == 1) return several = std::move(fitting), true;
    if (several.empty()) several = std::move(found);
    return false;
  };
  if (decides(model.exact(layer.name)) || decides(model.bare(bare)) || decides(model.flat(flat)))
    return several;
  std::vector<std::string> spellings = respelled(flat);
  for (const std::string& spelling : spellings) {
    if (decides(model.flat(spelling))) return several;
  }
  spellings.insert(spellings.begin(), flat);
  for (const std::string& spelling : spellings) {
    if (decides(model.flat(fused_names(spelling))) || decides(model.foreign(spelling))) return several;
  }
  return several;
}

class Matcher {
 public:
  Matcher(const Adapter& adapter, const model::Checkpoint& model, const LayerMap& map)
      : adapter_(adapter), model_(model), names_(model), map_(map) {}

  Matches run() {
    for (const AdapterLayer& layer : adapter_.layers()) place(layer);
    settle_claims();
    for (const Match& match : result_.matched) check(match);
    return std::move(result_);
  }

 private:
  void place(const AdapterLayer& layer) {
    std::vector<Target> targets;
    if (const auto mapped = map_.find(layer.name); mapped != map_.end()) {
      if (mapped->second.empty()) return result_.left_out.push_back(layer.name);
      targets = names_.exact(mapped->second);
      if (targets.empty())
        fail(ErrorCode::kBadInput, "{}: layer '{}' is mapped to '{}', which {} lacks", adapter_.path(),
             printable(layer.name), printable(mapped->second), model_.path());
    } else {
      targets = targets_of(layer, names_);
    }
    if (targets.empty()) return result_.unmatched.push_back(layer.name);
    if (targets.size() > 1) {
      std::vector<std::string> words;
      for (const Target& target : targets) words.push_back(printable(target.layer()));
      result_.ambiguous.emplace_back(layer.name, fmt::format("{}", fmt::join(words, ", ")));
      return;
    }
    result_.matched.push_back(matched(layer, targets.front()));
  }

  Match matched(const AdapterLayer& layer, const Target& target) const {
    Match match{.layer = &layer, .whole = target.whole};
    const Entry& entry = *target.entry;
    if (!target.whole && !entry.info->shape.empty())
      match.first_row = target.rows.first(layer.rows, entry.info->shape[0]);
    match.swapped = swaps(target);
    if (layer.changes_weight()) match.weight = &entry;
    if (layer.changes_bias()) {
      match.bias = model_.find(fmt::format("{}.bias", target.layer()));
      if (!match.bias)
        fail(ErrorCode::kBadInput, "{}: layer '{}' changes a bias, but '{}' of {} has none", adapter_.path(),
             printable(layer.name), printable(target.layer()), model_.path());
    }
    return match;
  }

  /// Whether the model has the halves of the layer's rows in the other order.
  static bool swaps(const Target& target) {
    const std::vector<int64_t>& shape = target.entry->info->shape;
    if (target.values == families::Values::kHalvesOfTwoSwapped)
      return shape.size() == 2 && shape[0] == 2 * shape[1];
    return target.values == families::Values::kHalvesSwapped;
  }

  bool fits(const Match& match, const Entry& entry, int64_t per_row) const {
    const std::vector<int64_t>& shape = entry.info->shape;
    const int64_t rows = shape.empty() ? 1 : shape[0];
    const AdapterLayer& layer = *match.layer;
    const bool factors = &entry == match.weight && layer.kind != Kind::kDifference;
    if (factors && shape.size() < 2) return false;
    if (rows == 0 || entry.info->numel() != rows * per_row) return false;
    if (match.whole) return rows == layer.rows && (!match.swapped || rows % 2 == 0);
    return match.first_row >= 0 && match.first_row + layer.rows <= rows;
  }
  bool fits(const Match& match) const {
    return (!match.weight || fits(match, *match.weight, match.layer->per_row)) &&
           (!match.bias || fits(match, *match.bias, 1));
  }

  static bool overlap(const Match& a, const Match& b) {
    const bool same_weight = a.weight && a.weight == b.weight, same_bias = a.bias && a.bias == b.bias;
    return (same_weight || same_bias) && a.first_row < b.first_row + b.layer->rows &&
           b.first_row < a.first_row + a.layer->rows;
  }

  /// Layers of a part of the adapter of which nothing fits, though another part does.
  std::set<const AdapterLayer*> of_other_models() const {
    std::set<std::string_view> fitting;
    for (const Match& match : result_.matched) {
      if (fits(match)) fitting.insert(model::adapter_prefix(match.layer->name));
    }
    std::set<const AdapterLayer*> others;
    for (const Match& match : result_.matched) {
      const bool part_fits = fitting.contains(model::adapter_prefix(match.layer->name));
      if (!fitting.empty() && !part_fits) others.insert(match.layer);
    }
    return others;
  }

  /// Rows that several layers claim go to the only one that fits, else to none.
  void settle_claims() {
    std::set<const AdapterLayer*> lost = of_other_models(), contested;
    for (const Match& match : result_.matched) {
      for (const Match& other : result_.matched) {
        if (match.layer == other.layer || !overlap(match, other)) continue;
        if (!fits(match)) {
          if (fits(other)) lost.insert(match.layer);
        } else if (fits(other)) {
          if (contested.insert(match.layer).second)
            result_.ambiguous.emplace_back(
                match.layer->name,
                fmt::format("{} together with '{}'", target_name(match), printable(other.layer->name)));
        }
      }
    }
    for (const AdapterLayer* layer : lost) result_.unmatched.push_back(layer->name);
    std::ranges::sort(result_.unmatched);
    std::erase_if(result_.matched, [&](const Match& match) {
      return lost.contains(match.layer) || contested.contains(match.layer);
    });
  }

  static std::string target_name(const Match& match) {
    return printable((match.weight ? match.weight : match.bias)->name());
  }

  void check(const Match& match) const {
    for (const Entry* entry : {match.weight, match.bias}) {
      if (!entry) continue;
      const AdapterLayer& layer = *match.layer;
      const int64_t per_row = entry == match.bias ? 1 : layer.per_row;
      if (!fits(match, *entry, per_row)) {
        fail(ErrorCode::kBadInput,
             "{}: layer '{}' changes {} rows of {}, but '{}' of {} has shape {}; it is of another model",
             adapter_.path(), printable(layer.name), layer.rows, per_row, printable(entry->name()),
             model_.path(), shape_text(entry->info->shape));
      }
      if (!safetensors::is_float(entry->info->dtype))
        fail(ErrorCode::kBadInput, "{}: layer '{}' changes '{}' of {}, which is {}", adapter_.path(),
             printable(layer.name), printable(entry->name()), model_.path(),
             safetensors::dtype_name(entry->info->dtype));
    }
  }

  const Adapter& adapter_;
  const model::Checkpoint& model_;
  ModelNames names_;
  const LayerMap& map_;
  Matches result_;
};

}  // namespace

Matches match(const Adapter& adapter, const model::Checkpoint& model, const LayerMap& map) {
  return Matcher(adapter, model, map).run();
}

}  // namespace ctq::lora
