// Finds a checkpoint's layers by the names that other programs give them.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "model/checkpoint.h"

namespace ctq::calibrate {

/// Layers with a 2-D weight.
class LayerNames {
 public:
  explicit LayerNames(const model::Checkpoint& checkpoint);

  /// The weight of the layer of that name; else of the only one whose name is the same without the model's
  /// prefix; else null.
  const model::Checkpoint::Entry* find(std::string_view layer) const;

 private:
  const model::Checkpoint& checkpoint_;
  std::multimap<std::string, const model::Checkpoint::Entry*, std::less<>> by_bare_name_;
};

}  // namespace ctq::calibrate
