// Per-layer configuration: a JSON file of patterns with what their layers become (docs/layer_config.md).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plan/pattern.h"
#include "plan/target.h"

namespace ctq::plan {

/// What one entry of the file says about its layers.
struct LayerRule {
  std::string name;              ///< the pattern as written, or "_default"
  std::optional<Target> target;  ///< nothing: the layer is kept as it is
  std::optional<bool> full_precision_matrix_mult;
};

/// How a file is to be read.
struct LayerConfigOptions {
  int64_t block_size = 128;  ///< of block formats whose entry names none
  bool full_match = false;   ///< patterns match the whole layer name instead of being found in it
};

/// The file's entries, checked. Which of several matching entries wins does not depend on the model.
class LayerConfig {
 public:
  using Options = LayerConfigOptions;
  struct Entry {
    LayerRule rule;
    Pattern pattern;
  };

  /// throws  Error(kUsage) naming the entry: not JSON, a key twice, not an object, a bad pattern, an unknown
  /// key or format, no format, a value of the wrong type, a scaling mode that contradicts the format
  static LayerConfig parse(std::string_view json, const Options& options);
  /// throws  as parse(); Error(kBadInput) with the system's reason when the file cannot be read. The messages
  ///         leave the path to the caller
  static LayerConfig load(const std::string& path, const Options& options);

  /// Most specific first: the first that matches a layer decides about it.
  std::span<const Entry> entries() const { return entries_; }
  bool matches(const Entry& entry, std::string_view layer) const {
    return full_match_ ? entry.pattern.full_match(layer) : entry.pattern.search(layer);
  }
  /// For layers that no entry matches and no filter protects.
  const std::optional<LayerRule>& default_rule() const { return default_rule_; }
  /// Settings without effect, one sentence each.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  std::vector<Entry> entries_;
  std::optional<LayerRule> default_rule_;
  std::vector<std::string> notes_;
  bool full_match_ = false;
};

}  // namespace ctq::plan
