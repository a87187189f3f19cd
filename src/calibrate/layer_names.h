// Finds a checkpoint's layers by the names that other programs give them.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "families/foreign_names.h"
#include "model/checkpoint.h"

namespace ctq::calibrate {

/// Layers with a 2-D weight.
class LayerNames {
 public:
  explicit LayerNames(const model::Checkpoint& checkpoint);

  /// The weight of the layer of that name; else of the only one whose name is the same without the model's
  /// prefix; else null.
  const model::Checkpoint::Entry* find(std::string_view layer) const;

  struct Renamed {
    const model::Checkpoint::Entry* weight = nullptr;
    int part = 0;  ///< of the layers whose rows follow one another in the weight
  };
  /// The weight that holds the rows of a layer of another library's name (families/foreign_names.h), if it is
  /// the only one; else null.
  Renamed find_renamed(std::string_view layer) const;

 private:
  const model::Checkpoint& checkpoint_;
  std::multimap<std::string, const model::Checkpoint::Entry*, std::less<>> by_bare_name_;
  std::vector<families::NameMap> foreign_;
};

}  // namespace ctq::calibrate
