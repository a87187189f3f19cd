// The LoRAs that a conversion merges into the weights first.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ctq/cli/arguments.h"
#include "ctq/lora/adapter.h"
#include "ctq/lora/match.h"
#include "ctq/lora/merged_view.h"
#include "ctq/model/checkpoint.h"

namespace ctq::cli {

struct MergeOptions {
  struct File {
    std::string path;
    std::string option;  ///< that names it
    double strength = 1;
  };
  std::vector<File> files;  ///< in the order of merging; empty: nothing is merged
  lora::LayerMap map;
  bool allow_partial = false;  ///< half or more of a LoRA may match nothing
  std::string only_to;         ///< the merged model is written here and the run ends; empty: it is quantized
};

/// --merge-loras, then --merge-lora. Adds a note for each option that has no effect.
/// throws  Error(kUsage) for contradictions and bad numbers; Error(kBadInput) for a map that cannot be read
MergeOptions read_merging(const Arguments& arguments, std::vector<std::string>& notes);

/// A checkpoint with the adapters merged. It must outlive this.
class MergedInput {
 public:
  /// Says what was matched; each tensor and its layers when `verbose`.
  /// throws  Error(kFailure): an adapter of which nothing matches; with `strict` one of which something does
  ///         not. Error(kBadInput): a quantized model; what adapters and matching throw, naming the option
  MergedInput(const model::Checkpoint& model, const MergeOptions& options, bool strict, bool verbose);

  const lora::MergedView& view() const { return *view_; }

 private:
  std::deque<lora::Adapter> adapters_;
  std::optional<lora::MergedView> view_;
};

}  // namespace ctq::cli
