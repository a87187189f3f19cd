// compressed-tensors: codes packed in words, FP4 in bytes, and zero points beside codes of a byte.
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

constexpr bool kEvenIsHigh = true;

/// Of weight_shape, two integers.
std::vector<int64_t> said_shape(const Layer& layer) {
  const Entry* said = layer.side("weight_shape");
  if (!said || said->info->numel() != 2 ||
      (said->info->dtype != Dtype::kI64 && said->info->dtype != Dtype::kI32))
    return {};
  const at::Tensor sizes = model::load(*said).to(at::kLong).reshape({-1});
  std::vector<int64_t> shape{sizes[0].item<int64_t>(), sizes[1].item<int64_t>()};
  return shape[0] == layer.weight->info->shape[0] && shape[1] > 0 &&
                 shape[1] <= 32 * layer.weight->info->shape[1]
             ? shape
             : std::vector<int64_t>();
}

/// Words of a row that in_features codes of so many bits fill; 0: of no number of bits.
int bits_of(int64_t words, int64_t in_features) {
  for (const int bits : {4, 8, 2, 3, 5, 6, 7, 1})
    if ((in_features * bits + 31) / 32 == words) return bits;
  return 0;
}

/// Codes of a signed type are stored with their least value as 0.
at::Tensor centred(const at::Tensor& codes, int bits) { return codes - (1 << (bits - 1)); }

at::Tensor column_runs(const Layer& layer) {
  const Entry* runs = layer.side("weight_g_idx");
  if (!runs) return {};
  const at::Tensor index = model::load(*runs).to(at::kLong).reshape({-1});
  const int64_t count = required_side(layer, "weight_scale").info->shape.back();
  // -1 stands for columns that were not put in another order.
  if (index.numel() == 0 || index.min().item<int64_t>() < 0) return {};
  if (index.numel() != layer.plain_shape[1] || index.max().item<int64_t>() >= count)
    fail(ErrorCode::kBadInput, "weight_g_idx does not fit {} runs", count);
  return index;
}

at::Tensor decode_words(const Layer& layer) {
  const int64_t columns = layer.plain_shape[1];
  const at::Tensor words = model::load(*layer.weight);
  const int bits = bits_of(words.size(1), columns);
  const at::Tensor scales = load_scales(required_side(layer, "weight_scale"));
  const Entry* zeros = layer.side("weight_zero_point");
  at::Tensor zero;
  if (zeros && zeros->info->dtype == Dtype::kI32 && scales.dim() == 2) {
    // Packed along out_features.
    const at::Tensor packed = model::load(*zeros).t();
    zero = centred(unpack_bits(packed, bits, words.size(0)), bits).t().contiguous();
  } else if (zeros) {
    zero = model::load(*zeros);
  }
  return scaled_runs(centred(unpack_bits(words, bits, columns), bits), scales, zero, column_runs(layer));
}

/// FP4: weight_global_scale divides what the scales of runs multiply.
at::Tensor decode_fp4(const Layer& layer) {
  const Entry& stored = required_side(layer, "weight_scale");
  at::Tensor scales = load_scales(stored);
  if (const Entry* whole = layer.side("weight_global_scale")) {
    const at::Tensor divisor = model::load(*whole).to(at::kFloat);
    if (divisor.numel() != 1) fail(ErrorCode::kBadInput, "weight_global_scale has several elements");
    scales = scales / divisor.reshape({});
  }
  return scaled_runs(unpack_e2m1(model::load_bytes(*layer.weight), !kEvenIsHigh), scales);
}

void describe_packed(Layer& layer) {
  const std::vector<int64_t>& stored = layer.weight->info->shape;
  if (stored.size() != 2) {
    layer.fault = fmt::format("packed codes of shape {} are not decoded", shape_text(stored));
    return;
  }
  if (layer.weight->info->dtype == Dtype::kU8) {
    layer.plain_shape = {stored[0], 2 * stored[1]};
    const Entry* scale = layer.side("weight_scale");
    layer.format =
        scale && scale->info->dtype == Dtype::kF8E4M3 ? "nvfp4-pack-quantized" : "mxfp4-pack-quantized";
    return;
  }
  layer.format = "pack-quantized";
  layer.plain_shape = said_shape(layer);
  if (layer.plain_shape.empty())
    layer.fault = "weight_shape is missing or does not fit";
  else if (layer.weight->info->dtype != Dtype::kI32 || bits_of(stored[1], layer.plain_shape[1]) == 0)
    layer.fault = fmt::format("{} {} holds codes of no number of bits",
                              safetensors::dtype_name(layer.weight->info->dtype), shape_text(stored));
}

void find_packed(Search& search) {
  for (const Entry& entry : search.entries()) {
    const std::string name(model::without_suffix(entry.name(), ".weight_packed"));
    if (name.empty()) continue;
    Layer* layer = search.add_foreign(Dialect::kCompressedTensors, entry, name + ".weight",
                                      {"weight_scale", "weight_shape", "weight_zero_point", "weight_g_idx",
                                       "weight_global_scale", "input_global_scale", "input_zero_point"});
    if (layer && layer->fault.empty()) describe_packed(*layer);
  }
}

/// Codes of a byte beside a scale alone are the dialect without markers.
void find_bytes(Search& search) {
  for (const Entry& entry : search.entries()) {
    const auto [name, role] = split_name(entry.name());
    if (role != "weight_zero_point" && role != "weight_g_idx") continue;
    const Entry* codes = search.find(fmt::format("{}.weight", name));
    if (!codes || !is_byte_code(codes->info->dtype) || codes->info->dtype == Dtype::kU8) continue;
    Layer* layer =
        search.add_foreign(Dialect::kCompressedTensors, *codes, codes->name(),
                           {"weight_scale", "weight_zero_point", "weight_g_idx", "input_zero_point"});
    if (!layer) continue;
    layer->format = codes->info->dtype == Dtype::kI8 ? "int-quantized" : "float-quantized";
    layer->plain_shape = codes->info->shape;
    if (layer->plain_shape.size() != 2) layer->fault = "a weight that is no matrix, with zero points";
  }
}

}  // namespace

void find_compressed_tensors(Search& search) {
  find_packed(search);
  find_bytes(search);
}

at::Tensor decode_compressed_tensors(const QuantizedFile&, const Layer& layer) {
  if (layer.format == "pack-quantized") return decode_words(layer);
  if (layer.weight->info->dtype == Dtype::kU8) return decode_fp4(layer);
  const Entry* zeros = layer.side("weight_zero_point");
  return scaled_runs(model::load(*layer.weight), load_scales(required_side(layer, "weight_scale")),
                     zeros ? model::load(*zeros).to(at::kFloat) : at::Tensor(), column_runs(layer));
}

}  // namespace ctq::quantized
