#include "packed.h"

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/text.h"
#include "quantized/decode.h"
#include "values.h"
#include "variants.h"

namespace ctq::quantized {
namespace {

/// A stored tensor in the type that the codec announces: bytes are bytes, and scales are numbers.
at::Tensor in_type(const at::Tensor& stored, at::ScalarType type) {
  if (stored.scalar_type() == type) return stored;
  if (c10::elementSize(type) == 1 && stored.element_size() == 1) return stored.view(type);
  return at::isFloatingType(stored.scalar_type()) && type == at::kFloat ? stored.to(type) : stored;
}

/// The same, with one element in the shape of a scalar where that is announced.
at::Tensor in_form(const at::Tensor& stored, const format::StoredTensor& announced) {
  const at::Tensor typed = in_type(stored, announced.dtype);
  return announced.shape.empty() && typed.numel() == 1 ? typed.reshape({}) : typed;
}

/// E8M0 scales are bytes here: LibTorch computes nothing with them.
at::Tensor load_stored(const model::Checkpoint::Entry& entry) {
  return entry.info->dtype == safetensors::Dtype::kF8E8M0 ? model::load_bytes(entry) : model::load(entry);
}

at::Tensor decode_matrix(const Layer& layer, const format::Codec& codec, int64_t out_features,
                         int64_t in_features, const Stored& stored) {
  if (layer.format == "asym_w4a8_int8") return decode_asym_w4a8(layer, out_features, in_features, stored);
  if (layer.format == "awq_w4a16") return decode_awq_w4a16(out_features, in_features, stored);
  std::vector<at::Tensor> tensors;
  for (const format::StoredTensor& each : format::stored_tensors(codec, out_features, in_features, 0))
    tensors.push_back(in_form(stored(each.role), each));
  return format::decode(format::unpack(codec, 0, layer.rotation_group(), tensors, out_features, in_features));
}

at::Tensor with_input_factors(const Layer& layer, const at::Tensor& weight) {
  const at::Tensor factors = input_factors(layer);
  return factors.defined() ? weight * factors : weight;
}

}  // namespace

at::Tensor input_factors(const Layer& layer) {
  const auto* factors = layer.format == "nvfp4" ? layer.side("pre_quant_scale") : nullptr;
  if (!factors || (layer.dialect != Dialect::kMarker && layer.dialect != Dialect::kHeader)) return {};
  return load_input_factors(*factors, layer.shape().back());
}

bool is_byte_format(std::string_view format) {
  return format.starts_with("float8_") || format == "int8_tensorwise" || format == "int8_axiswise" ||
         format == "int8_rowwise" || format == "int8_blockwise" || format == "int8_quip_hadamard" ||
         format.empty();
}

const format::Codec* packed_codec(std::string_view format) {
  if (is_byte_format(format)) return nullptr;
  if (format == "hybrid_mxfp8") format = "mxfp8";
  const auto codecs = format::registry();
  const auto found = std::ranges::find(codecs, format, &format::Codec::format);
  return found == codecs.end() ? nullptr : &*found;
}

at::Tensor decode_packed(const Layer& layer, const format::Codec& codec) {
  const std::vector<int64_t> shape = layer.shape();
  const Stored stored = [&](std::string_view role) {
    const auto* entry = role == "weight" ? layer.weight : layer.side(role);
    if (!entry) fail(ErrorCode::kBadInput, "{} is missing", role);
    return load_stored(*entry);
  };
  if (shape.size() == 2)
    return with_input_factors(layer, decode_matrix(layer, codec, shape[0], shape[1], stored));
  if (shape.size() != 3) fail(ErrorCode::kBadInput, "its weight has shape {}", shape_text(shape));
  std::vector<at::Tensor> experts;
  for (int64_t i = 0; i < shape[0]; ++i) {
    const Stored of_expert = [&](std::string_view role) {
      const at::Tensor all = stored(role);
      return all.dim() > 0 && all.size(0) == shape[0] ? all[i] : all;
    };
    experts.push_back(decode_matrix(layer, codec, shape[1], shape[2], of_expert));
  }
  return with_input_factors(layer, at::stack(experts));
}

}  // namespace ctq::quantized
