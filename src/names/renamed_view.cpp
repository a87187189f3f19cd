#include "names/renamed_view.h"

#include <algorithm>
#include <ranges>
#include <set>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "model/layer_names.h"

namespace ctq::names {
namespace {

using Entry = model::Checkpoint::Entry;
using families::OwnName;
using families::Values;

constexpr std::string_view kWayOut = "--names keep leaves the names as they are";

/// The name split before its last word: "a.b.weight" is "a.b" and ".weight".
std::pair<std::string_view, std::string_view> split(std::string_view name) {
  const size_t dot = std::min(name.rfind('.'), name.size());
  return {name.substr(0, dot), name.substr(dot)};
}

/// By the whole name, else by the layer's, whose tensors keep their last word.
std::optional<OwnName> own_name(const families::NameMap& map, std::string_view name) {
  if (auto found = map.find(name); !found.empty()) return std::move(found.front());
  const auto [layer, word] = split(name);
  auto found = map.find(layer);
  if (found.empty()) return std::nullopt;
  found.front().name += word;
  return std::move(found.front());
}

std::vector<std::string> names_with(const model::Checkpoint& checkpoint, std::string_view prefix) {
  std::vector<std::string> names;
  for (const Entry& entry : checkpoint.entries()) {
    if (entry.name().starts_with(prefix)) names.push_back(entry.name().substr(prefix.size()));
  }
  return names;
}

/// The element type of what is joined: that of its parts, or float32 where they differ.
safetensors::Dtype common_dtype(const std::vector<Entry>& parts) {
  const auto same = [&](const Entry& part) { return part.info->dtype == parts.front().info->dtype; };
  return std::ranges::all_of(parts, same) ? parts.front().info->dtype : safetensors::Dtype::kF32;
}

}  // namespace

/// One tensor of the checkpoint on its way to a place here.
struct RenamedView::Piece {
  const Entry* entry;
  OwnName own;
};

/// Parts one below the other, or one whose values change places.
class RenamedView::Made final : public model::Computed {
 public:
  Made(std::vector<Entry> parts, std::vector<int64_t> shape, Values values)
      : parts_(std::move(parts)), shape_(std::move(shape)), values_(values) {}

  at::Tensor load() const override {
    at::Tensor whole = at::empty(shape_, at::kFloat);
    if (values_ == Values::kTransposed) {
      whole.copy_(model::load(parts_.front()).transpose(1, 2));
      return whole;
    }
    if (values_ == Values::kHalvesSwapped) {
      const at::Tensor values = model::load(parts_.front());
      const int64_t half = values.size(0) / 2;
      whole.narrow(0, 0, half).copy_(values.narrow(0, half, half));
      whole.narrow(0, half, half).copy_(values.narrow(0, 0, half));
      return whole;
    }
    int64_t row = 0;
    for (const Entry& part : parts_) {
      const int64_t rows = part.info->numel() / (whole.numel() / whole.size(0));
      whole.narrow(0, row, rows).copy_(model::load(part).reshape_as(whole.narrow(0, row, rows)));
      row += rows;
      part.file->release(*part.info);
    }
    return whole;
  }

 private:
  const std::vector<Entry> parts_;
  const std::vector<int64_t> shape_;
  const Values values_;
};

std::optional<Foreign> find_foreign(const model::Checkpoint& checkpoint) {
  std::set<std::string_view> prefixes{""};
  for (const Entry& entry : checkpoint.entries()) {
    const std::string_view name = entry.name();
    prefixes.insert(name.substr(0, name.size() - model::without_model_prefixes(name).size()));
  }
  for (const std::string_view prefix : prefixes) {
    if (const families::Naming* naming = families::naming_of(names_with(checkpoint, prefix)))
      return Foreign{naming, std::string(prefix)};
  }
  return std::nullopt;
}

RenamedView::RenamedView(const model::Checkpoint& checkpoint, const Foreign& foreign)
    : source_(checkpoint), checkpoint_(checkpoint.view({}, {})) {
  const std::string_view prefix = foreign.prefix, kept = model::model_prefix(prefix);
  const families::NameMap map = foreign.naming->map(names_with(checkpoint, prefix));
  std::map<std::string, std::vector<Piece>> pieces;
  for (const Entry& entry : checkpoint.entries()) {
    if (!entry.name().starts_with(prefix)) {
      pieces[entry.name()].push_back({&entry, {}});
      continue;
    }
    const std::string_view name = std::string_view(entry.name()).substr(prefix.size());
    OwnName own = own_name(map, name).value_or(OwnName{.name = std::string(name)});
    pieces[fmt::format("{}{}", kept, own.name)].push_back({&entry, std::move(own)});
  }
  for (auto& [name, of_name] : pieces) add(name, std::move(of_name));
  checkpoint_ = checkpoint.view(std::move(entries_), checkpoint.metadata());
}

/// Which values change places: kHalvesSwapped, kTransposed, or kSame for none.
Values RenamedView::moved(const Piece& piece) const {
  if (piece.own.values == Values::kTransposed) return Values::kTransposed;
  if (piece.own.values == Values::kHalvesSwapped) return Values::kHalvesSwapped;
  if (piece.own.values != Values::kHalvesOfTwoSwapped) return Values::kSame;
  const Entry* weight = source_.find(fmt::format("{}.weight", split(piece.entry->name()).first));
  const bool of_two =
      weight && weight->info->shape.size() == 2 && weight->info->shape[0] == 2 * weight->info->shape[1];
  return of_two ? Values::kHalvesSwapped : Values::kSame;
}

void RenamedView::check(const std::string& name, const std::vector<Piece>& pieces) const {
  const Piece& first = pieces.front();
  for (size_t i = 1; i < pieces.size(); ++i) {
    if (pieces[i].own.part != pieces[i - 1].own.part) continue;
    fail(ErrorCode::kBadInput, "{}: tensors '{}' and '{}' are both '{}' for ComfyUI; {}", source_.path(),
         printable(pieces[i - 1].entry->name()), printable(pieces[i].entry->name()), printable(name),
         kWayOut);
  }
  if (pieces.size() != first.own.parts)
    fail(ErrorCode::kBadInput,
         "{}: has names of the diffusers library, and ComfyUI's '{}' is joined of {} tensors there, but only "
         "{} stand in it, "
         "'{}' first; is it one shard of several? {}",
         source_.path(), printable(name), first.own.parts, pieces.size(), printable(first.entry->name()),
         kWayOut);
  for (const Piece& piece : pieces) {
    const std::vector<int64_t>&shape = piece.entry->info->shape, &of_first = first.entry->info->shape;
    const Values values = moved(piece);
    const bool joins = pieces.size() > 1 || values != Values::kSame;
    const bool fits = !shape.empty() &&
                      std::ranges::equal(shape | std::views::drop(1), of_first | std::views::drop(1)) &&
                      safetensors::is_float(piece.entry->info->dtype) &&
                      (values != Values::kHalvesSwapped || shape[0] % 2 == 0) &&
                      (values != Values::kTransposed || shape.size() == 3);
    if (joins && !fits)
      fail(ErrorCode::kBadInput, "{}: tensor '{}' ({}, {}) cannot become ComfyUI's '{}'; {}", source_.path(),
           printable(piece.entry->name()), safetensors::dtype_name(piece.entry->info->dtype),
           shape_text(shape), printable(name), kWayOut);
  }
}

void RenamedView::add(const std::string& name, std::vector<Piece> pieces) {
  std::ranges::sort(pieces, {}, [](const Piece& piece) { return piece.own.part; });
  check(name, pieces);
  const Piece& first = pieces.front();
  entries_.push_back(*first.entry);
  if (name == first.entry->name()) return;
  std::vector<Entry> parts;
  for (const Piece& piece : pieces) {
    parts.push_back(*piece.entry);
    sources_[name].push_back(piece.entry->name());
  }
  renamed_ += parts.size();
  safetensors::TensorInfo& info = infos_.emplace_back(*first.entry->info);
  info.name = name;
  info.dtype = common_dtype(parts);
  for (size_t i = 1; i < parts.size(); ++i) info.shape[0] += parts[i].info->shape[0];
  const bool flat = first.own.values == Values::kFlat;
  if (flat) info.shape = {info.numel()};
  const Values values = moved(first);
  if (values == Values::kTransposed) std::swap(info.shape[1], info.shape[2]);
  Entry& entry = entries_.back();
  entry.info = &info;
  if (parts.size() > 1) ++joined_;
  if (parts.size() > 1 || values != Values::kSame || (flat && entry.computed))
    entry.computed =
        made_.emplace_back(std::make_unique<const Made>(std::move(parts), info.shape, values)).get();
}

}  // namespace ctq::names
