// Which LoRAs are merged into which file of a batch.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "options.h"

namespace ctq::cli::batch {

class LoraChoice {
 public:
  /// Reads --merge-lora, --lora-mapping and --lora-dir.
  /// throws  Error(kBadInput): something named is missing; the mapping is not a JSON object of paths and
  ///         lists of paths, or has a key twice
  explicit LoraChoice(const BatchOptions& options);

  /// True when a LoRA option is given.
  bool active() const { return !single_.empty() || !mapping_.empty() || !folder_.empty(); }

  /// Paths for a model; the first of these that says something: --merge-lora; the mapping's key that is the
  /// file's name, its stem, or a part of the stem between '.', '_' and '-'; the file of --lora-dir.
  std::vector<std::string> of(const std::string& input) const;

 private:
  using Rule = std::pair<std::string, std::vector<std::string>>;
  const Rule* rule_for(const std::string& input) const;
  std::string located(const std::string& path) const;

  std::string single_;
  std::string folder_;
  std::vector<Rule> mapping_;  ///< in the file's order
};

}  // namespace ctq::cli::batch
