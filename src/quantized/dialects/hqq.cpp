// HQQ: W_q with everything else of the layer in small tensors beside it.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "model/layer_names.h"
#include "quantized/dialects.h"
#include "quantized/values.h"

namespace ctq::quantized {
namespace {

using Entry = model::Checkpoint::Entry;
using safetensors::Dtype;

/// An integer of a tensor of one element; `otherwise` where there is none.
int64_t integer(const Layer& layer, std::string_view role, int64_t otherwise) {
  const Entry* said = layer.side(role);
  return said && said->info->numel() == 1 && said->info->dtype != Dtype::kBool
             ? model::load(*said).to(at::kLong).item<int64_t>()
             : otherwise;
}

std::string describe(Layer& layer) {
  const Entry* shape = layer.side("shape");
  if (!shape || shape->info->numel() < 2 || shape->info->numel() > 4 ||
      (shape->info->dtype != Dtype::kI64 && shape->info->dtype != Dtype::kI32))
    return "its shape is missing";
  const at::Tensor sizes = model::load(*shape).to(at::kLong).reshape({-1}).contiguous();
  for (int64_t i = 0; i < sizes.numel(); ++i) layer.plain_shape.push_back(sizes[i].item<int64_t>());
  const int64_t bits = integer(layer, "nbits", 0);
  layer.format = fmt::format("{} bits", bits);
  if (bits != 8 && bits != 4 && bits != 2 && bits != 1) return "only 1, 2, 4 and 8 bits are decoded";
  if (integer(layer, "view_as_float", 0) != 0 || layer.weight->info->dtype != Dtype::kU8)
    return "its bytes are stored as another type";
  if (integer(layer, "quant_scale", 0) != 0 || integer(layer, "quant_zero", 0) != 0 || !layer.side("scale") ||
      !layer.side("zero"))
    return "its scales or zero points are quantized themselves";
  return "";
}

}  // namespace

void find_hqq(Search& search) {
  for (const Entry& entry : search.entries()) {
    const std::string name(model::without_suffix(entry.name(), ".W_q"));
    if (name.empty()) continue;
    Layer* layer = search.add_foreign(
        Dialect::kHqq, entry, name + ".weight",
        {"nbits", "group_size", "shape", "scale", "zero", "axis", "packing", "unpack_view_dtype",
         "view_as_float", "quant_scale", "quant_zero", "compute_dtype", "offload_meta", "encoded_state_dict",
         "stores_quant_config", "channel_wise", "optimize", "round_zero"});
    if (layer && layer->fault.empty()) layer->fault = describe(*layer);
  }
}

at::Tensor decode_hqq(const QuantizedFile&, const Layer& layer) {
  const int bits = static_cast<int>(integer(layer, "nbits", 0));
  const at::Tensor bytes = model::load_bytes(*layer.weight);
  std::vector<at::Tensor> parts;  // the first rows lie in the highest bits
  for (int low = 8 - bits; low >= 0; low -= bits)
    parts.push_back(bytes.bitwise_right_shift(low).bitwise_and((1 << bits) - 1));
  const at::Tensor codes = at::cat(parts).to(at::kFloat);
  const at::Tensor zero = model::load(*layer.side("zero")).to(at::kFloat),
                   scale = model::load(*layer.side("scale")).to(at::kFloat);
  int64_t count = 1;
  for (const int64_t size : layer.plain_shape) count *= size;
  const bool fits = zero.sizes() == scale.sizes() && scale.dim() == codes.dim() && count == codes.numel() &&
                    (scale.size(0) == 1 || scale.size(0) == codes.size(0)) &&
                    (scale.size(-1) == 1 || scale.size(-1) == codes.size(-1));
  if (!fits)
    fail(ErrorCode::kBadInput, "scale {} and codes {} do not make {}", shape_text(scale.sizes()),
         shape_text(codes.sizes()), shape_text(layer.plain_shape));
  return ((codes - zero) * scale).reshape(layer.plain_shape);
}

}  // namespace ctq::quantized
