// GPTQ and AWQ: words of integer codes with scales and zero points of runs, in_features first.
#include <array>

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
using Shape = std::vector<int64_t>;

/// AWQ puts column order[i] of eight into the i-th nibble of a word.
constexpr std::array<int64_t, 8> kAwqOrder = {0, 2, 4, 6, 1, 3, 5, 7};

/// Bits of a code of GPTQ, by how many words the zero points of out_features fill, or the codes of g_idx's
/// columns; 0 where neither fits.
int gptq_bits(const Layer& layer, int64_t out_features) {
  const Entry *zeros = layer.side("qzeros"), *index = layer.side("g_idx");
  for (const int bits : {4, 8, 2, 3}) {
    const bool by_zeros = zeros && zeros->info->shape.size() == 2 && zeros->info->bytes() > 0 &&
                          (out_features * bits + 31) / 32 == zeros->info->shape[1];
    const bool by_index = index && (index->info->numel() * bits + 31) / 32 == layer.weight->info->shape[0];
    if (index ? by_index && (by_zeros || !zeros || zeros->info->bytes() == 0) : by_zeros) return bits;
  }
  return 0;
}

void describe(Search& search, Layer& layer) {
  const Entry* scales = layer.side("scales");
  const Shape& words = layer.weight->info->shape;
  if (!scales || scales->info->shape.size() != 2 || words.size() != 2 ||
      layer.weight->info->dtype != Dtype::kI32) {
    layer.fault = "qweight without scales, or of another shape or type";
    return;
  }
  const int64_t out_features = scales->info->shape[1];
  if (words[1] * 8 == out_features && layer.side("qzeros") && !layer.side("g_idx")) {
    layer.dialect = Dialect::kAwq;
    layer.format = "4 bits";
    layer.plain_shape = {out_features, words[0]};
    return;
  }
  const int bits = gptq_bits(layer, out_features);
  if (words[1] != out_features || bits == 0) {
    layer.fault = "its tensors are in no known order of GPTQ's or AWQ's";
    return;
  }
  const Entry* index = layer.side("g_idx");
  layer.plain_shape = {out_features, index ? index->info->numel() : words[0] * 32 / bits};
  layer.format = fmt::format("{} bits", bits);
  const nlohmann::json& configuration = search.configuration();
  // The first version stores zero points less one.
  if (configuration.is_object() && configuration.value("checkpoint_format", nlohmann::json()) == "gptq_v2")
    layer.format += ", v2";
}

at::Tensor runs_of_columns(const Layer& layer, int64_t runs) {
  const Entry* index = layer.side("g_idx");
  if (!index) return {};
  const at::Tensor columns = model::load(*index).to(at::kLong).reshape({-1});
  if (columns.min().item<int64_t>() < 0 || columns.max().item<int64_t>() >= runs)
    fail(ErrorCode::kBadInput, "g_idx does not fit {} runs", runs);
  return columns;
}

}  // namespace

void find_gptq_and_awq(Search& search) {
  for (const Entry& entry : search.entries()) {
    const std::string name(model::without_suffix(entry.name(), ".qweight"));
    if (name.empty()) continue;
    Layer* layer = search.add_foreign(Dialect::kGptq, entry, name + ".weight", {"scales", "qzeros", "g_idx"});
    if (layer && layer->fault.empty()) describe(search, *layer);
  }
}

at::Tensor decode_gptq(const QuantizedFile&, const Layer& layer) {
  const int64_t out_features = layer.plain_shape[0], in_features = layer.plain_shape[1];
  const int bits = gptq_bits(layer, out_features);
  const at::Tensor codes = unpack_bits(model::load(*layer.weight).t(), bits, in_features);
  const at::Tensor scales = load_scales(required_side(layer, "scales")).t().contiguous();
  const Entry* packed = layer.side("qzeros");
  const int stored_less = layer.format.ends_with("v2") ? 0 : 1;
  const at::Tensor zeros =
      packed && packed->info->bytes() > 0
          ? unpack_bits(model::load(*packed), bits, out_features).t().contiguous() + stored_less
          : at::full_like(scales, 1 << (bits - 1));
  if (zeros.sizes() != scales.sizes())
    fail(ErrorCode::kBadInput, "qzeros do not fit scales of {} runs", scales.size(1));
  return scaled_runs(codes, scales, zeros, runs_of_columns(layer, scales.size(1)));
}

at::Tensor decode_awq(const QuantizedFile&, const Layer& layer) {
  const int64_t out_features = layer.plain_shape[0];
  std::vector<int64_t> nibbles(static_cast<size_t>(out_features));  // where each column lies
  for (int64_t i = 0; i < out_features; ++i)
    nibbles.at(static_cast<size_t>(i / 8 * 8 + kAwqOrder.at(static_cast<size_t>(i % 8)))) = i;
  const at::Tensor order = at::tensor(nibbles, at::kLong);
  const auto unpacked = [&](const Entry& words) {
    return unpack_bits(model::load(words), 4, out_features).index_select(1, order).t().contiguous();
  };
  return scaled_runs(unpacked(*layer.weight), load_scales(required_side(layer, "scales")).t().contiguous(),
                     unpacked(required_side(layer, "qzeros")));
}

}  // namespace ctq::quantized
