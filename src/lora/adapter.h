// An adapter file: the low-rank and other changes that it holds, layer by layer. docs/lora.md has the
// dialects.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "model/checkpoint.h"
#include "quantized/decoded_view.h"

namespace ctq::lora {

/// What a tensor of an adapter is to its layer. The letters are those of LyCORIS (arXiv:2309.14859).
enum class Part : uint8_t {
  kDown,    ///< A: [r, in_features], of a convolution [r, in, kernel...]
  kUp,      ///< B: [out_features, r]
  kUpBias,  ///< of B's own bias, [out_features]
  kMid,     ///< core of a convolution in Tucker form, [r, r, kernel...]
  kAlpha,
  kDoraScale,  ///< magnitudes, [out, 1...] or [1, in, 1...]
  kMagnitude,  ///< the same as PEFT has them, out_features elements in any shape
  kHadaW1A,
  kHadaW1B,
  kHadaT1,
  kHadaW2A,
  kHadaW2B,
  kHadaT2,
  kLokrW1,
  kLokrW1A,
  kLokrW1B,
  kLokrW2,
  kLokrW2A,
  kLokrW2B,
  kLokrT2,
  kDiff,  ///< the whole change of the weight
  kDiffBias,
};

/// "lora_unet_x.lora_down.weight" is kDown of "lora_unet_x".
struct PartName {
  std::string_view layer;
  Part part;
};
/// Nothing where the name says no part. It refers to `tensor_name`.
std::optional<PartName> part_of(std::string_view tensor_name);

/// How the change of a weight is written down.
enum class Kind : uint8_t {
  kNone,        ///< only the bias changes
  kLowRank,     ///< B A, also with a Tucker core
  kHadamard,    ///< LoHa: (W1a W1b) * (W2a W2b), element by element
  kKronecker,   ///< LoKr: W1 (x) W2
  kDifference,  ///< as it is
};

/// All that an adapter has of one layer.
struct AdapterLayer {
  std::string name;  ///< as the file has it, without the part
  std::map<Part, const model::Checkpoint::Entry*> parts;
  Kind kind = Kind::kNone;
  int64_t rows = 0;     ///< of the change: out_features
  int64_t per_row = 0;  ///< elements of a row, 0 where only the bias changes
  double factor = 1;    ///< alpha / r; 1 for whole differences

  const model::Checkpoint::Entry* find(Part part) const {
    const auto found = parts.find(part);
    return found == parts.end() ? nullptr : found->second;
  }
  bool changes_weight() const { return kind != Kind::kNone; }
  bool changes_bias() const { return find(Part::kDiffBias) || find(Part::kUpBias); }
};

/// Reads headers, and the alphas; safe to use from several threads. Factors in FP8, with scales or without,
/// are decoded.
class Adapter {
 public:
  /// The factor of a layer is its tensor `.alpha` over the rank; else the header's `<layer>_alpha` with '_'
  /// for '.'; else what PEFT says of it, in the header's `lora_adapter_metadata` (diffusers) or in an
  /// adapter_config.json beside an adapter_model.safetensors; else the header's `network_alpha`; else 1.
  /// The rank of two Kronecker factors that are whole is not known: it is 1 then, unless PEFT says it.
  ///
  /// throws  Error(kBadInput): unreadable; no adapter; a tensor that is of no known part or not of numbers,
  ///         which is named; a layer whose parts are incomplete or do not fit each other
  explicit Adapter(const std::string& path);
  Adapter(const Adapter&) = delete;
  Adapter& operator=(const Adapter&) = delete;

  const std::string& path() const { return file_.path(); }
  /// By name.
  const std::vector<AdapterLayer>& layers() const { return layers_; }
  /// Tensors of textual inversions that came along ("bundle_emb."): they belong to no layer.
  const std::vector<std::string>& embeddings() const { return embeddings_; }

 private:
  const model::Checkpoint& plain() const { return decoded_ ? decoded_->checkpoint() : file_; }

  model::Checkpoint file_;
  quantized::QuantizedFile quantized_;
  std::unique_ptr<const quantized::DecodedView> decoded_;  ///< null where nothing is quantized
  std::vector<std::string> embeddings_;
  std::vector<AdapterLayer> layers_;
};

}  // namespace ctq::lora
