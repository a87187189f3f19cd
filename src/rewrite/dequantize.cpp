#include "rewrite/dequantize.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "quantized/decode.h"
#include "quantized/decoded_view.h"
#include "rewrite/output.h"

namespace ctq::rewrite {
namespace {

using quantized::Layer;
using safetensors::Dtype;

at::Tensor cast(const at::Tensor& weight, Dtype dtype, const std::string& name) {
  const at::Tensor plain = weight.to(dtype == Dtype::kF32   ? at::kFloat
                                     : dtype == Dtype::kF16 ? at::kHalf
                                                            : at::kBFloat16);
  if (dtype == Dtype::kF16 && plain.isinf().any().item<bool>() && !weight.isinf().any().item<bool>()) {
    fail(ErrorCode::kFailure, "weight '{}' has values beyond float16's range; choose --dtype bf16 or f32",
         printable(name));
  }
  return plain;
}

[[noreturn]] void refuse_plain(const quantized::QuantizedFile& file) {
  fail(ErrorCode::kBadInput, "{}: holds no quantized layer{}", file.checkpoint->path(),
       file.strays.empty() ? ""
                           : fmt::format("; scales that belong to none, such as '{}', are left out by edit "
                                         "--remove-tensors, or by a conversion with --requantize",
                                         printable(file.strays.front())));
}

}  // namespace

Dequantized dequantize(const quantized::QuantizedFile& file, std::optional<Dtype> dtype,
                       const std::string& path) {
  Dequantized done;
  Output output;
  for (const auto& entry : file.checkpoint->entries()) {
    const Layer* layer = file.of_weight(entry);
    if (layer && layer->has_codes()) {
      quantized::require_decodable(*layer);
      const Dtype plain = dtype.value_or(quantized::plain_dtype(*layer));
      output.make(layer->plain_name(), plain, layer->shape(), entry, [&file, layer, plain] {
        return cast(quantized::decode(file, *layer), plain, layer->name);
      });
      ++done.decoded;
    } else if (file.is_side(entry.name())) {
      ++done.dropped;
    } else {
      output.copy(entry);
      ++done.copied;
    }
  }
  if (done.decoded == 0) refuse_plain(file);
  safetensors::Metadata metadata = copied_metadata(*file.checkpoint);
  quantized::erase_quantization(metadata, file);
  output.write(path, metadata);
  return done;
}

}  // namespace ctq::rewrite
