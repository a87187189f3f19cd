#include "families/preset.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace ctq::families {
namespace {

/// Appends what the list does not have yet.
void merge(std::vector<std::string>& into, std::span<const std::string_view> patterns) {
  for (const std::string_view pattern : patterns) {
    if (std::find(into.begin(), into.end(), pattern) == into.end()) into.emplace_back(pattern);
  }
}

/// The variants to use, merged in this order.
std::vector<PatternLists> chosen(const Preset& preset, FilterSet set) {
  std::vector<PatternLists> lists;
  const auto& first = set == FilterSet::kPeer ? preset.peer : preset.seed;
  const auto& second = set == FilterSet::kPeer ? preset.seed : preset.peer;
  if (first) lists.push_back(*first);
  if (second && (lists.empty() || set == FilterSet::kUnion)) lists.push_back(*second);
  if (preset.ours) lists.push_back(*preset.ours);
  return lists;
}

const Preset& target_of(const Preset& preset) {
  return preset.alias_for.empty() ? preset : *find_preset(preset.alias_for);
}

const Preset& existing_preset(std::string_view name) {
  if (const Preset* preset = find_preset(name)) return *preset;
  std::vector<std::string_view> names;
  for (const Preset* preset : presets()) names.push_back(preset->name);
  const std::string_view near = nearest_word(name, names);
  if (near.empty()) fail(ErrorCode::kUsage, "there is no layer preset '{}'", printable(name));
  fail(ErrorCode::kUsage, "there is no layer preset '{}'; did you mean '{}'?", printable(name), near);
}

struct LayerName {
  std::string_view prefix;  ///< "model.layers"
  std::string_view index;   ///< "27", without leading zeros
};

/// The first language layer that a tensor name mentions; as the peer's regular expression
/// (?:^|\.)(?P<prefix>(?:model\.)?language_model\.layers|model\.layers)\.(?P<index>\d+)\. finds it.
std::optional<LayerName> language_layer(std::string_view name) {
  constexpr std::string_view kPrefixes[] = {"model.language_model.layers", "language_model.layers",
                                            "model.layers"};
  for (size_t begin = 0; begin < name.size(); ++begin) {
    if (begin != 0 && name[begin - 1] != '.') continue;
    for (const std::string_view prefix : kPrefixes) {
      std::string_view rest = name.substr(begin);
      if (!rest.starts_with(prefix) || !rest.substr(prefix.size()).starts_with('.')) continue;
      rest.remove_prefix(prefix.size() + 1);
      const size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
      if (digits == 0 || !rest.substr(digits).starts_with('.')) continue;
      const size_t zeros = std::min(rest.find_first_not_of('0'), digits - 1);
      return LayerName{prefix, rest.substr(zeros, digits - zeros)};
    }
  }
  return std::nullopt;
}

/// One pattern per distinct prefix: "model.layers.27.".
std::vector<std::string> last_language_layers(std::span<const std::string> tensor_names) {
  // Compared as (digits, text), so that an index of any length is in order.
  std::map<std::string_view, std::pair<size_t, std::string_view>> last;
  for (const std::string& name : tensor_names) {
    if (const auto layer = language_layer(name)) {
      auto& index = last[layer->prefix];
      index = std::max(index, {layer->index.size(), layer->index});
    }
  }
  std::vector<std::string> patterns;
  for (const auto& [prefix, index] : last) patterns.push_back(fmt::format("{}.{}.", prefix, index.second));
  return patterns;
}

const std::string* first_in(const std::vector<std::string>& patterns, std::string_view name) {
  for (const std::string& pattern : patterns) {
    if (name.find(pattern) != std::string_view::npos) return &pattern;
  }
  return nullptr;
}

}  // namespace

const Preset* find_preset(std::string_view name) {
  for (const Preset* preset : presets()) {
    if (preset->name == name) return preset;
  }
  return nullptr;
}

ActivePresets::ActivePresets(std::span<const std::string> names, FilterSet set,
                             std::span<const std::string> tensor_names) {
  std::vector<const Preset*> wanted;
  for (const std::string& name : names) wanted.push_back(&existing_preset(name));
  std::ranges::sort(wanted, {}, [](const Preset* preset) { return std::ranges::find(presets(), preset); });

  std::vector<const Preset*> targets;
  for (const Preset* preset : wanted) {
    const Preset& target = target_of(*preset);
    if (std::find(targets.begin(), targets.end(), &target) != targets.end()) continue;
    targets.push_back(&target);

    Active active{preset, {}, {}, {}};
    for (const PatternLists& lists : chosen(target, set)) {
      merge(active.exclude, lists.exclude);
      merge(active.highprec, lists.highprec);
      merge(active.remove, lists.remove);
    }
    if (target.exclude_final_language_layer) {
      for (const std::string& pattern : last_language_layers(tensor_names))
        merge(active.exclude, {{pattern}});
    }
    active_.push_back(std::move(active));
  }
}

std::optional<PresetHit> ActivePresets::protects(std::string_view tensor_name) {
  std::optional<PresetHit> hit;
  for (Active& active : active_) {
    const std::string* exclude = first_in(active.exclude, tensor_name);
    const std::string* pattern = exclude != nullptr ? exclude : first_in(active.highprec, tensor_name);
    if (pattern == nullptr) continue;
    active.used = true;
    if (!hit) {
      hit = {std::string(active.preset->name), *pattern, exclude != nullptr ? "exclude" : "highprec"};
    }
  }
  return hit;
}

std::optional<PresetHit> ActivePresets::removes(std::string_view tensor_name) {
  std::optional<PresetHit> hit;
  for (Active& active : active_) {
    const std::string* pattern = first_in(active.remove, tensor_name);
    if (pattern == nullptr) continue;
    active.used = true;
    if (!hit) hit = {std::string(active.preset->name), *pattern, "remove"};
  }
  return hit;
}

std::vector<std::string> ActivePresets::unused() const {
  std::vector<std::string> names;
  for (const Active& active : active_) {
    const bool has_patterns = !active.exclude.empty() || !active.highprec.empty() || !active.remove.empty();
    if (has_patterns && !active.used) names.emplace_back(active.preset->name);
  }
  return names;
}

}  // namespace ctq::families
