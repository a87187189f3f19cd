#include "quantized/decode.h"

#include <cmath>

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/text.h"
#include "dialects.h"
#include "format/log_scale.h"
#include "format/quip.h"
#include "linalg/hadamard.h"
#include "linalg/tiles.h"
#include "packed.h"
#include "quantized/scale_tiles.h"
#include "values.h"

namespace ctq::quantized {
namespace {

using Entry = model::Checkpoint::Entry;
using safetensors::Dtype;

template <typename... Args>
[[noreturn]] void refuse(const Layer& layer, fmt::format_string<Args...> fault, Args&&... args) {
  fail(ErrorCode::kBadInput, "layer '{}' cannot be decoded: {}", printable(layer.name),
       fmt::format(fault, std::forward<Args>(args)...));
}

/// A tensor of the layer as float32; experts, where there are any, in front.
at::Tensor side(const Layer& layer, std::string_view role) {
  const Entry* entry = layer.side(role);
  if (!entry) refuse(layer, "{} is missing", role);
  return model::load(*entry).to(at::kFloat);
}

bool is_int8(const Layer& layer) { return layer.format.starts_with("int8_"); }

bool has_byte_codes(const Layer& layer) {
  const Dtype dtype = layer.weight->info->dtype;
  return dtype == Dtype::kI8 || (dtype == Dtype::kU8 && is_int8(layer)) || safetensors::is_fp8(dtype);
}

at::Tensor scale_of(const QuantizedFile& file, const Layer& layer) {
  const Entry* scale = layer.scale();
  return layer.dialect == Dialect::kLogScales ? at::scalar_tensor(log_scale(file, layer), at::kFloat)
                                              : model::load(*scale).to(at::kFloat);
}

linalg::Code code_of(at::ScalarType type) {
  if (type == at::kChar) return linalg::Code::kInt8;
  return type == at::kFloat8_e5m2 ? linalg::Code::kE5M2 : linalg::Code::kE4M3;
}

at::Tensor scaled(const Layer& layer, const at::Tensor& codes, const at::Tensor& scale) {
  const auto tiles = tiles_of_scale(scale.sizes().vec(), codes.size(0), codes.size(1));
  if (!tiles)
    refuse(layer, "a scale of shape {} covers no even part of {}", shape_text(scale.sizes()),
           shape_text(codes.sizes()));
  if (codes.numel() == 0) return at::empty(codes.sizes(), at::kFloat);
  return linalg::decode_tiles(
      codes.contiguous(), code_of(codes.scalar_type()), *tiles,
      scale.reshape({tiles->count_down(codes.size(0)), tiles->count_across(codes.size(1))}).contiguous());
}

at::Tensor rotated_back(const Layer& layer, const at::Tensor& weight) {
  if (!layer.marker.flag("convrot")) return weight;
  try {
    return linalg::rotate_columns(weight, layer.rotation_group());
  } catch (const Error& error) {
    refuse(layer, "{}", error.what());
  }
}

/// Signs and transforms undone, cropped (docs/files.md).
at::Tensor quip_undone(const Layer& layer, const at::Tensor& transformed) {
  for (const auto& [role, dim] : {std::pair("hadamard_size_out", 0), std::pair("hadamard_size_in", 1)}) {
    const at::Tensor said = side(layer, role);
    if (said.numel() != 1 || said.item<float>() != static_cast<float>(transformed.size(dim)))
      refuse(layer, "{} is not the size of the stored weight {}", role, shape_text(transformed.sizes()));
  }
  const at::Tensor row = side(layer, "sign_row"), column = side(layer, "sign_col");
  if (row.numel() != transformed.size(0) || column.numel() != transformed.size(1))
    refuse(layer, "its signs do not fit the stored weight {}", shape_text(transformed.sizes()));
  const at::Tensor whole = format::coherent(transformed, row.reshape({-1}), column.reshape({-1}));
  const std::vector<int64_t> shape = layer.shape();
  return whole.narrow(0, 0, std::min(shape[0], whole.size(0)))
      .narrow(1, 0, std::min(shape[1], whole.size(1)))
      .contiguous();
}

/// One weight [out_features, in_features]; scale of this weight alone.
at::Tensor decode_bytes(const Layer& layer, const at::Tensor& codes, const at::Tensor& scale) {
  const at::Tensor product = scaled(layer, codes, scale);
  try {
    return layer.is_quip() ? quip_undone(layer, product) : rotated_back(layer, product);
  } catch (const c10::Error& error) {
    refuse(layer, "{}", error.what_without_backtrace());
  }
}

/// A bank of experts, each with its own part of the scales.
at::Tensor product_with_scale(const Layer& layer) {
  const at::Tensor codes = model::load(*layer.weight), scale = load_scales(*layer.scale());
  if (codes.dim() == 2) return scaled_blocks(codes, scale);
  if (codes.dim() != 3 || scale.dim() == 0 || scale.size(0) != codes.size(0)) {
    if (scale.numel() == 1) return codes.to(at::kFloat) * scale.reshape({});
    fail(ErrorCode::kBadInput, "a weight of shape {} with scales of shape {}", shape_text(codes.sizes()),
         shape_text(scale.sizes()));
  }
  std::vector<at::Tensor> experts;
  for (int64_t i = 0; i < codes.size(0); ++i) experts.push_back(scaled_blocks(codes[i], scale[i]));
  return at::stack(experts);
}

/// Of another program's dialect, whose table row says how.
at::Tensor decode_foreign(const QuantizedFile& file, const Layer& layer) {
  const DialectRow& row = row_of(layer.dialect);
  try {
    at::Tensor weight = row.decode ? row.decode(file, layer) : product_with_scale(layer);
    if (weight.sizes() != layer.plain_shape)
      fail(ErrorCode::kBadInput, "it decodes to {}, not {}", shape_text(weight.sizes()),
           shape_text(layer.plain_shape));
    return weight.contiguous();
  } catch (const Error& error) {
    refuse(layer, "{}", error.what());
  } catch (const c10::Error& error) {
    refuse(layer, "{}", error.what_without_backtrace());
  }
}

/// The scale of one expert: of a tensor with one entry per expert its own, else all of it.
at::Tensor of_expert(const at::Tensor& scale, int64_t expert, int64_t experts) {
  return scale.dim() > 0 && scale.size(0) == experts ? scale[expert] : scale;
}

}  // namespace

float log_scale(const QuantizedFile& file, const Layer& layer) {
  const Entry* entry = layer.scale();
  if (entry->info->dtype != Dtype::kU8 || entry->info->bytes() != 1)
    refuse(layer, "its scale is {} {}, not one U8 code", safetensors::dtype_name(entry->info->dtype),
           shape_text(entry->info->shape));
  const LogScales& scales = file.log_scales.value();
  const auto code = static_cast<unsigned char>(text_of(*entry)[0]);
  const float value = format::log_scale_value(code, scales.log10_min, scales.log10_max);
  return scales.multiplier ? 1 / value : value;
}

void require_decodable(const Layer& layer) {
  if (!layer.fault.empty()) refuse(layer, "{} ({})", layer.fault, layer.dialect_label());
  if (is_foreign(layer.dialect)) return;
  if (!layer.weight) refuse(layer, "the file has no '{}.weight'", printable(layer.name));
  if (!layer.marker_fault.empty()) refuse(layer, "{}", layer.marker_fault);
  if (!layer.has_codes() || layer.dialect == Dialect::kRaw) return;
  if (packed_codec(layer.format)) return;
  if (!is_byte_format(layer.format)) {
    fail(ErrorCode::kFailure, "layer '{}': this version cannot decode format '{}'", printable(layer.name),
         printable(layer.format));
  }
  if (!has_byte_codes(layer))
    refuse(layer, "its weight is {}", safetensors::dtype_name(layer.weight->info->dtype));
  if (!layer.scale()) refuse(layer, "weight_scale is missing");
}

at::Tensor decode(const QuantizedFile& file, const Layer& layer) {
  require_decodable(layer);
  if (is_foreign(layer.dialect)) return decode_foreign(file, layer);
  if (const format::Codec* codec = packed_codec(layer.format); codec && layer.has_codes()) {
    try {
      return decode_packed(layer, *codec);
    } catch (const Error& error) {
      refuse(layer, "{}", error.what());
    }
  }
  at::Tensor codes = model::load(*layer.weight);
  if (!layer.has_codes() || layer.dialect == Dialect::kRaw) return codes.to(at::kFloat);
  if (codes.scalar_type() == at::kByte) codes = codes.view(at::kChar);  // the same bits, as loaders take them
  const at::Tensor scale = scale_of(file, layer);
  if (codes.dim() == 3) {
    std::vector<at::Tensor> experts;
    for (int64_t i = 0; i < codes.size(0); ++i)
      experts.push_back(decode_bytes(layer, codes[i], of_expert(scale, i, codes.size(0))));
    return at::stack(experts);
  }
  if (codes.dim() == 2) return decode_bytes(layer, codes, scale);
  // Loaders give other ranks to modules that know no scale.
  if (scale.numel() != 1)
    refuse(layer, "a weight of shape {} with scales of shape {}", shape_text(codes.sizes()),
           shape_text(scale.sizes()));
  return codes.to(at::kFloat) * scale.reshape({});
}

at::Tensor load(const QuantizedFile& file, const Entry& entry) {
  const Layer* layer = file.of_weight(entry);
  return layer && layer->has_codes() ? decode(file, *layer) : model::load(entry);
}

const Entry* weight_named(const QuantizedFile& file, std::string_view tensor) {
  if (const Entry* entry = file.checkpoint->find(tensor)) return entry;
  const Layer* layer = file.find(tensor);
  if (!layer && tensor.ends_with(".weight")) layer = file.find(tensor.substr(0, tensor.size() - 7));
  return layer && layer->weight && layer->plain_name() == tensor ? layer->weight : nullptr;
}

std::vector<int64_t> shape_of(const QuantizedFile& file, const Entry& entry) {
  const Layer* layer = file.of_weight(entry);
  return layer && layer->has_codes() ? layer->shape() : entry.info->shape;
}

}  // namespace ctq::quantized
