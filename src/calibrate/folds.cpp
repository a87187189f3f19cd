#include "calibrate/folds.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

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

}  // namespace

std::vector<Fold> folds(const model::Checkpoint& checkpoint) {
  std::vector<Fold> found;
  std::set<std::string> seen;
  for (const model::Checkpoint::Entry& entry : checkpoint.entries()) {
    if (!entry.is_matrix()) continue;
    const auto source = resolve(checkpoint, entry.layer());
    if (!source) continue;
    auto fold = fold_of(*source);
    if (!fold || !seen.insert(fold->source).second) continue;
    const bool whole = std::ranges::all_of(fold->readers, [&](const std::string& reader) {
      const auto other = resolve(checkpoint, reader);
      return other && words(*other) == fold->source && checkpoint.find(reader + ".weight");
    });
    if (whole) found.push_back(std::move(*fold));
  }
  return found;
}

}  // namespace ctq::calibrate
