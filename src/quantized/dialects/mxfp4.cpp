// MXFP4 of gpt-oss: banks of experts as <tensor>_blocks and <tensor>_scales, in_features last.
#include <ATen/ATen.h>

#include "base/error.h"
#include "base/text.h"
#include "model/layer_names.h"
#include "quantized/dialects.h"
#include "quantized/values.h"

namespace ctq::quantized {
namespace {

using Entry = model::Checkpoint::Entry;
using safetensors::Dtype;

constexpr int64_t kBytesOfRun = 16;

}  // namespace

void find_mxfp4(Search& search) {
  for (const Entry& entry : search.entries()) {
    const std::string tensor(model::without_suffix(entry.name(), "_blocks"));
    const Entry* scales = tensor.empty() ? nullptr : search.find(tensor + "_scales");
    if (!scales || entry.info->dtype != Dtype::kU8 || scales->info->dtype != Dtype::kU8) continue;
    Layer* layer = search.add_foreign(Dialect::kMxfp4, entry, tensor, {});
    if (!layer) continue;
    search.attach(*layer, "scales", scales->name());
    layer->format = "mxfp4";
    std::vector<int64_t> shape = entry.info->shape;
    if (shape.size() != 4 || shape[3] != kBytesOfRun ||
        scales->info->shape != std::vector<int64_t>{shape[0], shape[1], shape[2]}) {
      layer->plain_shape = shape;
      if (layer->fault.empty())
        layer->fault = fmt::format("blocks {} and scales {} do not fit", shape_text(shape),
                                   shape_text(scales->info->shape));
      continue;
    }
    // Programs that decode them hold in_features first.
    layer->plain_shape = {shape[0], shape[2] * 2 * kBytesOfRun, shape[1]};
  }
}

at::Tensor decode_mxfp4(const QuantizedFile&, const Layer& layer) {
  const at::Tensor bytes = model::load_bytes(*layer.weight), scales = load_scales(*layer.side("scales"));
  const int64_t experts = bytes.size(0), out_features = bytes.size(1);
  at::Tensor weight = at::empty(layer.plain_shape, at::kFloat);
  for (int64_t i = 0; i < experts; ++i) {
    const at::Tensor values = unpack_e2m1(bytes[i].reshape({out_features, -1}), /*even_is_high=*/false);
    weight[i].copy_(scaled_runs(values, scales[i]).t());
  }
  return weight;
}

}  // namespace ctq::quantized
