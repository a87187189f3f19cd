#include "quantized/decoded_view.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/text.h"
#include "quantized/decode.h"

namespace ctq::quantized {

using safetensors::Dtype;

class DecodedView::Weight final : public model::Computed {
 public:
  Weight(const QuantizedFile& file, const Layer& layer) : file_(file), layer_(layer) {}
  at::Tensor load() const override { return decode(file_, layer_); }

 private:
  const QuantizedFile& file_;
  const Layer& layer_;
};

DecodedView::DecodedView(const QuantizedFile& file) : checkpoint_(file.checkpoint->view({}, {})) {
  if (!file.header_fault.empty())
    fail(ErrorCode::kBadInput, "{}: {}", file.checkpoint->path(), file.header_fault);
  std::vector<model::Checkpoint::Entry> entries;
  for (const model::Checkpoint::Entry& entry : file.checkpoint->entries()) {
    if (file.is_side(entry.name())) continue;
    const Layer* layer = file.of_weight(entry);
    entries.push_back(entry);
    if (!layer || !layer->has_codes()) continue;
    require_decodable(*layer);
    safetensors::TensorInfo& info = infos_.emplace_back(*entry.info);
    info.dtype = plain_dtype(*layer);
    info.shape = layer->shape();
    info.name = layer->plain_name();
    entries.back().info = &info;
    entries.back().computed = weights_.emplace_back(std::make_unique<const Weight>(file, *layer)).get();
  }
  safetensors::Metadata metadata = file.checkpoint->metadata();
  erase_quantization(metadata, file);
  checkpoint_ = file.checkpoint->view(std::move(entries), std::move(metadata));
}

void erase_quantization(safetensors::Metadata& metadata, const QuantizedFile& file) {
  for (const char* key : {"_quantization_metadata", "ctq.scale8", "quantization_config"}) metadata.erase(key);
  for (const Layer& layer : file.layers)
    if (layer.dialect == Dialect::kTorchao)
      metadata.erase(layer.plain_name()), metadata.erase("tensor_names");
}

Dtype plain_dtype(const Layer& layer) {
  const std::string said = layer.marker.word("orig_dtype", "").value_or("");
  const std::string& type = said.empty() ? layer.plain_type : said;
  if (type == "torch.float32" || type == "float32") return Dtype::kF32;
  return type == "torch.float16" || type == "float16" ? Dtype::kF16 : Dtype::kBF16;
}

}  // namespace ctq::quantized
