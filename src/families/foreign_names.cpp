#include "families/foreign_names.h"

#include <algorithm>
#include <optional>

#include "namings.h"

namespace ctq::families {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string flat(std::string_view name) {
  std::string text(name);
  std::ranges::replace(text, '.', '_');
  return text;
}

/// The texts that stand at the pattern's '#' and '*'; nothing where the name does not fit.
std::optional<std::vector<std::string_view>> captures(std::string_view pattern, std::string_view name) {
  std::vector<std::string_view> found;
  for (; !pattern.empty(); pattern.remove_prefix(1)) {
    if (pattern == "*") {
      found.push_back(name);
      return name.empty() ? std::nullopt : std::optional(found);
    }
    size_t length = 1;
    if (pattern.front() == '#') {
      length = 0;
      while (length < name.size() && is_digit(name[length])) ++length;
      if (length == 0) return std::nullopt;
      found.push_back(name.substr(0, length));
    } else if (name.empty() || name.front() != pattern.front()) {
      return std::nullopt;
    }
    name.remove_prefix(length);
  }
  return name.empty() ? std::optional(found) : std::nullopt;
}

std::string filled(std::string_view pattern, const std::vector<std::string_view>& texts) {
  std::string name;
  size_t next = 0;
  for (const char c : pattern) {
    if (c == '#' || c == '*') {
      name += texts[next++];
    } else {
      name += c;
    }
  }
  return name;
}

std::string_view without_weight(std::string_view name) {
  constexpr std::string_view kSuffix = ".weight";
  return name.ends_with(kSuffix) ? name.substr(0, name.size() - kSuffix.size()) : name;
}

/// names: sorted
bool begins_some(std::span<const std::string> names, std::string_view run) {
  for (auto name = std::ranges::lower_bound(names, run); name != names.end() && name->starts_with(run);
       ++name) {
    if (name->size() == run.size() || (*name)[run.size()] == '.') return true;
  }
  return false;
}

constexpr const Naming* kNamings[] = {
    &kAuraFlowNames,      &kPixArtNames,   &kZimageNames,       &kLumina2Names, &kFlux2Names,
    &kChromaNames,        &kWanNames,      &kHunyuanVideoNames, &kFluxNames,    &kSd3Names,
    &kUnetNames,          &kLtxvNames,     &kMochiNames,        &kKrea2Names,   &kHunyuanVideoPublishedNames,
    &kFluxProcessorNames, &kOpenClipNames, &kAceStepNames,      &kGptOssNames,
};

}  // namespace

NameMap::NameMap(std::span<const ForeignName> rows) {
  for (const ForeignName& row : rows) {
    add(std::string(row.foreign), std::string(row.own));
    rows_.back().part = row.part, rows_.back().parts = row.parts, rows_.back().values = row.values;
  }
}

void NameMap::add(std::string foreign, std::string own) {
  rows_.push_back({.foreign = std::move(foreign), .own = std::move(own)});
  Row& row = rows_.back();
  row.flat_foreign = flat(without_weight(row.foreign)), row.flat_own = flat(without_weight(row.own));
}

std::vector<OwnName> NameMap::find(std::string_view name) const {
  std::vector<OwnName> found;
  for (const Row& row : rows_) {
    if (const auto texts = captures(row.foreign, name))
      found.push_back({filled(row.own, *texts), row.part, row.parts, row.values});
  }
  return found;
}

std::vector<OwnName> NameMap::find_flat(std::string_view name) const {
  std::vector<OwnName> found;
  for (const Row& row : rows_) {
    if (const auto texts = captures(row.flat_foreign, name))
      found.push_back({filled(row.flat_own, *texts), row.part, row.parts, row.values});
  }
  return found;
}

std::span<const Naming* const> namings() { return kNamings; }

const Naming* naming_of(std::span<const std::string> names) {
  const auto begins = [&](std::string_view run) { return begins_some(names, run); };
  for (const Naming* naming : kNamings) {
    if (!naming->whole_models) continue;
    const bool all =
        std::ranges::all_of(naming->all, [&](std::string_view run) { return run.empty() || begins(run); });
    const bool none =
        std::ranges::none_of(naming->none, [&](std::string_view run) { return !run.empty() && begins(run); });
    if (all && none) return naming;
  }
  return nullptr;
}

}  // namespace ctq::families
