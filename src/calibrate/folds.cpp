#include "calibrate/folds.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "calibrate/resolve.h"

namespace ctq::calibrate {
namespace {

std::vector<FoldedRows> rows_of(const LinearSource& linear) {
  std::vector<FoldedRows> makers = {{linear.weight, linear.first, linear.rows}};
  if (linear.bias) makers.push_back({linear.bias, linear.first, linear.rows});
  return makers;
}

std::vector<FoldedRows> parameters_of(const Source& source) {
  const float offset = source.input->norm.kind == families::Norm::kRmsOnePlus ? 1 : 0;
  std::vector<FoldedRows> makers = {{source.norm_weight, 0, source.width, offset}};
  if (source.norm_bias) makers.push_back({source.norm_bias, 0, source.width});
  return makers;
}

std::optional<Fold> fold_of(const Source& source) {
  Fold fold{.into = Fold::Into::kNorm, .source = words(source), .readers = source.readers, .makers = {}};
  if (source.values.weight) {
    if (source.value_repeats > 1) return std::nullopt;
    fold.into = Fold::Into::kValues;
    fold.makers = rows_of(source.values);
  } else if (source.up.weight) {
    fold.into = Fold::Into::kUp;
    fold.makers = rows_of(source.up);
  } else if (!source.gate.weight && source.norm_weight && !source.input->norm.is_shared) {
    fold.makers = parameters_of(source);
  } else {
    return std::nullopt;
  }
  return fold;
}

/// Of what conditioning modulates.
std::optional<Fold> fold_of(const ModulatedSource& source) {
  Fold fold{.into = Fold::Into::kModulation, .source = {}, .readers = source.readers, .makers = {}};
  if (source.norm) {
    fold.into = Fold::Into::kNorm;
    fold.makers = {{source.norm, 0, source.norm->info->shape[0]}};
  } else {
    fold.makers = {{source.scale.bias, source.scale.first, source.scale.rows, /*offset=*/1}};
    fold.makers.push_back({source.scale.weight, source.scale.first, source.scale.rows});
    for (const FoldedRows& rows : rows_of(source.shift)) fold.makers.push_back(rows);
  }
  fold.source = fmt::format("modulated, {} {}", fold.makers.front().entry->name(), fold.makers.front().first);
  return fold;
}

std::optional<Fold> fold_of(const model::Checkpoint& checkpoint, std::string_view layer) {
  if (const auto source = resolve(checkpoint, layer)) return fold_of(*source);
  if (const auto source = resolve_modulated(checkpoint, layer)) return fold_of(*source);
  return std::nullopt;
}

}  // namespace

std::vector<Fold> folds(const model::Checkpoint& checkpoint) {
  std::vector<Fold> found;
  std::set<std::string> seen;
  for (const model::Checkpoint::Entry& entry : checkpoint.entries()) {
    if (!entry.is_matrix()) continue;
    auto fold = fold_of(checkpoint, entry.layer());
    if (!fold || !seen.insert(fold->source).second) continue;
    const bool whole = std::ranges::all_of(fold->readers, [&](const std::string& reader) {
      const auto other = fold_of(checkpoint, reader);
      return other && other->source == fold->source && checkpoint.find(reader + ".weight");
    });
    if (whole) found.push_back(std::move(*fold));
  }
  return found;
}

}  // namespace ctq::calibrate
