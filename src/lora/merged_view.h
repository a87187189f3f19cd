// A checkpoint with adapters merged into its weights, seen as a plain one.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lora/adapter.h"
#include "lora/match.h"
#include "model/checkpoint.h"

namespace ctq::lora {

/// An adapter, its share, and where it goes.
struct Merge {
  const Adapter* adapter = nullptr;
  double strength = 1;
  std::vector<Match> matched;
};

/// Changed tensors are computed when they are loaded: the stored values in float32, to which the adapters are
/// applied in their order. Names, types and shapes stay. The checkpoint and the adapters must outlive the
/// view.
class MergedView {
 public:
  MergedView(const model::Checkpoint& model, const std::vector<Merge>& merges);
  MergedView(const MergedView&) = delete;
  MergedView& operator=(const MergedView&) = delete;

  const model::Checkpoint& checkpoint() const { return checkpoint_; }

  /// Changed tensors, and the layers of adapters that change each of them, as those name them.
  const std::map<std::string, std::vector<std::string>>& changed() const { return changed_; }

 private:
  class Tensor;
  std::deque<std::unique_ptr<const model::Computed>> tensors_;
  std::map<std::string, std::vector<std::string>> changed_;
  model::Checkpoint checkpoint_;
};

}  // namespace ctq::lora
