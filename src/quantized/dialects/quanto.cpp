// optimum-quanto: codes of a byte times a scale, and two or four bits with a shift.
#include <algorithm>
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

/// Columns of a run of codes, which lies as a row of its own.
constexpr std::array<int64_t, 4> kRuns = {128, 96, 64, 32};

/// The shape of the weight whose runs, or rows, have one scale each; only a bias tells rows from runs.
std::vector<int64_t> shape_of_packed(const Search& search, const Layer& layer) {
  const Entry *scale = layer.side("weight._scale"), *bias = search.find(layer.name + ".bias");
  const int64_t rows = scale->info->shape[0], columns = layer.weight->info->shape[1];
  if (std::ranges::count(kRuns, columns) == 0) return {rows, columns};
  if (!bias || bias->info->numel() == 0 || rows % bias->info->numel() != 0) return {};
  return {bias->info->numel(), rows / bias->info->numel() * columns};
}

std::string packed_fault(const Layer& layer) {
  const Entry *scale = layer.side("weight._scale"), *shift = layer.side("weight._shift");
  if (!scale || !shift) return "its scale or shift is missing";
  if (layer.weight->info->shape.size() != 2 || scale->info->shape.size() != 2 || scale->info->shape[1] != 1 ||
      shift->info->shape != scale->info->shape)
    return "the scales of its packed codes do not lie along out_features";
  return "";
}

/// Codes of 2 or 4 bits to a byte: the number of rows that a byte holds tells which.
int bits_of(const Layer& layer, int64_t rows) {
  const int64_t packed = layer.weight->info->shape[0];
  for (const int bits : {4, 2})
    if ((rows * bits + 7) / 8 == packed) return bits;
  fail(ErrorCode::kBadInput, "{} rows of bytes hold neither 4 nor 2 bits of {} rows", packed, rows);
}

at::Tensor decode_packed_rows(const Layer& layer) {
  const at::Tensor bytes = model::load_bytes(*layer.weight),
                   scale = load_scales(required_side(layer, "weight._scale")),
                   shift = load_scales(required_side(layer, "weight._shift"));
  const int64_t rows = scale.size(0);
  const int bits = bits_of(layer, rows);
  std::vector<at::Tensor> parts;  // the first rows lie in the lowest bits
  for (int low = 0; low < 8; low += bits)
    parts.push_back(bytes.bitwise_right_shift(low).bitwise_and((1 << bits) - 1));
  const at::Tensor codes = at::cat(parts).narrow(0, 0, rows).to(at::kFloat);
  return (codes * scale - shift).reshape(layer.plain_shape);
}

}  // namespace

void find_quanto(Search& search) {
  for (const Entry& entry : search.entries()) {
    const bool packed = entry.name().ends_with("._data._data");
    const std::string tensor(model::without_suffix(entry.name(), packed ? "._data._data" : "._data"));
    if (tensor.empty() || !is_byte_code(entry.info->dtype) || !search.find(tensor + "._scale")) continue;
    Layer* layer = search.add_foreign(Dialect::kQuanto, entry, tensor, {"output_scale"});
    if (!layer) continue;
    for (const char* part : {"_scale", "_shift"})
      search.attach(*layer, fmt::format("weight.{}", part), fmt::format("{}.{}", tensor, part));
    const Entry& scale = *layer->side("weight._scale");
    layer->plain_shape = entry.info->shape;
    if (!packed) {
      layer->scale_role = "weight._scale";
      layer->format = entry.info->dtype == Dtype::kI8 ? "qint8" : "qfloat8";
      continue;
    }
    if (layer->fault.empty()) layer->fault = packed_fault(*layer);
    layer->format = "qint4 or qint2";
    if (!layer->fault.empty()) continue;
    layer->plain_shape = shape_of_packed(search, *layer);
    if (layer->plain_shape.empty())
      layer->fault = "nothing tells whether its codes lie in rows or in runs of columns (a bias would)";
    layer->format = scale.info->shape[0] > 2 * entry.info->shape[0] ? "qint2" : "qint4";
  }
}

at::Tensor decode_quanto(const QuantizedFile&, const Layer& layer) {
  if (layer.scale_role.empty()) return decode_packed_rows(layer);
  const at::Tensor codes = model::load(*layer.weight), scale = load_scales(*layer.scale());
  const bool fits = scale.numel() == 1 || (scale.dim() == codes.dim() && scale.numel() == codes.size(0) &&
                                           scale.size(0) == codes.size(0));
  const bool last =
      scale.dim() == codes.dim() && scale.numel() == scale.size(-1) && scale.numel() == codes.size(-1);
  if (!fits && !last)
    fail(ErrorCode::kBadInput, "_scale {} does not fit {}", shape_text(scale.sizes()),
         shape_text(codes.sizes()));
  return codes.to(at::kFloat) * scale;
}

}  // namespace ctq::quantized
