#include "lora/merged_view.h"

#include <utility>

#include <ATen/ATen.h>

#include "lora/delta.h"

namespace ctq::lora {
namespace {

using Entry = model::Checkpoint::Entry;

/// One adapter's part in one tensor.
struct Change {
  const AdapterLayer* layer;
  double strength;
  int64_t first_row;
  bool swapped;
  bool of_bias;

  at::Tensor applied_to(const at::Tensor& rows) const {
    if (!swapped) return merged(rows);
    return halves_swapped(merged(halves_swapped(rows)));
  }

 private:
  at::Tensor merged(const at::Tensor& rows) const {
    return of_bias ? merged_bias(rows, *layer, strength) : merged_weight(rows, *layer, strength);
  }
  static at::Tensor halves_swapped(const at::Tensor& rows) { return rows.roll(rows.size(0) / 2, 0); }
};

}  // namespace

class MergedView::Tensor final : public model::Computed {
 public:
  Tensor(const Entry& entry, std::vector<Change> changes) : entry_(entry), changes_(std::move(changes)) {}

  at::Tensor load() const override {
    at::Tensor values = model::load(entry_).to(at::kFloat);
    bool of_file = true;  // possibly: mapped memory, which is read-only
    for (const Change& change : changes_) {
      if (values.dim() == 0 || change.layer->rows == values.size(0)) {
        values = change.applied_to(values);
      } else {
        if (of_file) values = values.clone();
        const at::Tensor part = values.narrow(0, change.first_row, change.layer->rows);
        part.copy_(change.applied_to(part));
      }
      of_file = false;
      for (const auto& [part, entry] : change.layer->parts) entry->file->release(*entry->info);
    }
    return values;
  }

 private:
  const Entry entry_;
  std::vector<Change> changes_;
};

MergedView::MergedView(const model::Checkpoint& model, const std::vector<Merge>& merges)
    : checkpoint_(model.view({}, {})) {
  std::map<std::string, std::vector<Change>> changes;
  for (const Merge& merge : merges) {
    for (const Match& match : merge.matched) {
      const auto add = [&](const Entry* entry, bool of_bias) {
        if (!entry) return;
        changes[entry->name()].push_back(
            {match.layer, merge.strength, match.first_row, match.swapped, of_bias});
        changed_[entry->name()].push_back(match.layer->name);
      };
      add(match.weight, /*of_bias=*/false);
      add(match.bias, /*of_bias=*/true);
    }
  }
  std::vector<Entry> entries(model.entries().begin(), model.entries().end());
  for (Entry& entry : entries) {
    const auto found = changes.find(entry.name());
    if (found == changes.end()) continue;
    entry.computed =
        tensors_.emplace_back(std::make_unique<const Tensor>(entry, std::move(found->second))).get();
  }
  checkpoint_ = model.view(std::move(entries), model.metadata());
}

}  // namespace ctq::lora
