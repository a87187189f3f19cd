// The model that is converted: as it is stored, decoded, under the client's names, with adapters merged.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "engine/job.h"
#include "lora/adapter.h"
#include "lora/merged_view.h"
#include "model/checkpoint.h"
#include "names/renamed_view.h"
#include "quantized/decoded_view.h"

namespace ctq::engine {

/// A quantized checkpoint as plain weights. It must outlive this.
struct DecodedInput {
  /// requantize: the setting that asks for it
  /// throws  Error(kBadInput) for a layer that no program could read
  DecodedInput(const model::Checkpoint& checkpoint, const AnySetting& requantize);

  quantized::QuantizedFile file;
  quantized::DecodedView view;
};

/// A checkpoint with the adapters merged. It must outlive this.
class MergedInput {
 public:
  /// Says what was matched.
  /// throws  Error(kFailure): an adapter of which nothing, or too little, matches; with `strict` one of which
  ///         something does not. Error(kBadInput): a quantized model; what adapters and matching throw,
  ///         naming the setting
  MergedInput(const model::Checkpoint& model, const Job& job);

  const lora::MergedView& view() const { return *view_; }

 private:
  std::deque<lora::Adapter> adapters_;
  std::optional<lora::MergedView> view_;
};

/// Opens a job's input. Not movable: each view refers to the one before.
class ConvertedInput {
 public:
  /// throws  what opening, decoding, renaming and merging throw; Error(kUsage) for a file that is no model
  explicit ConvertedInput(const Job& job);
  ConvertedInput(const ConvertedInput&) = delete;
  ConvertedInput& operator=(const ConvertedInput&) = delete;

  const model::Checkpoint& checkpoint() const { return merged_ ? merged_->view().checkpoint() : unmerged(); }
  std::vector<std::string> files() const { return stored_.files(); }
  /// Null where there are no LoRAs.
  const lora::MergedView* merged() const { return merged_ ? &merged_->view() : nullptr; }

 private:
  const model::Checkpoint& unmerged() const;
  void rename(const Job& job);

  const model::Checkpoint stored_;
  std::optional<const DecodedInput> decoded_;
  std::optional<const names::RenamedView> renamed_;
  std::optional<const MergedInput> merged_;
};

}  // namespace ctq::engine
