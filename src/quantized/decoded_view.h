// A quantized checkpoint seen as the plain one that it stands for.
#pragma once

#include <deque>
#include <memory>

#include "quantized/layers.h"

namespace ctq::quantized {

/// Weights of quantized layers are computed when they are loaded, float32 and without loss; their type is the
/// one that the marker says they had, else BF16. Scales, markers and the header's map of them are not there.
/// The file must outlive the view.
class DecodedView {
 public:
  /// throws  Error(kBadInput) naming a layer that cannot be decoded, as far as headers and markers tell
  explicit DecodedView(const QuantizedFile& file);
  DecodedView(const DecodedView&) = delete;
  DecodedView& operator=(const DecodedView&) = delete;

  const model::Checkpoint& checkpoint() const { return checkpoint_; }
  size_t decoded() const { return weights_.size(); }

 private:
  class Weight;
  std::deque<safetensors::TensorInfo> infos_;
  std::deque<std::unique_ptr<const model::Computed>> weights_;
  model::Checkpoint checkpoint_;
};

/// Type of the weight that a layer had: of "orig_dtype" in its marker, or what the dialect says, else BF16.
safetensors::Dtype plain_dtype(const Layer& layer);

/// Takes out what the header says of codes that are not there any more.
void erase_quantization(safetensors::Metadata& metadata, const QuantizedFile& file);

}  // namespace ctq::quantized
