// NVFP4 and MXFP8 without markers. Two orders are in use that the shapes need not tell apart: that of
// ComfyUI, which is cuBLAS's, and that of ModelOpt, which compressed-tensors and BFL's diffusers files share.
#include <algorithm>
#include <cmath>
#include <span>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "format/swizzle.h"
#include "quantized/dialects.h"
#include "quantized/scale_order.h"
#include "quantized/values.h"

namespace ctq::quantized {
namespace {

using Entry = model::Checkpoint::Entry;
using Order = QuantizedFile::ScaleOrder;
using safetensors::Dtype;
using Shape = std::vector<int64_t>;

bool is_block_scaled(const Layer& layer) {
  return layer.dialect == Dialect::kNvfp4 || layer.dialect == Dialect::kMxfp8;
}

int64_t run_of(const Layer& layer) { return layer.dialect == Dialect::kNvfp4 ? 16 : 32; }

/// Rows and runs of the stored weight.
std::pair<int64_t, int64_t> grid_of(const Layer& layer) {
  const Shape& shape = layer.plain_shape;
  return {shape[0], (shape[1] + run_of(layer) - 1) / run_of(layer)};
}

bool fits(const Layer& layer, Order order) {
  const Shape& scales = layer.side("weight_scale")->info->shape;
  const auto [rows, runs] = grid_of(layer);
  const Shape wanted = order == Order::kRows
                           ? Shape{rows, runs}
                           : Shape{format::swizzled_rows(rows), format::swizzled_columns(runs)};
  return scales == wanted;
}

/// How much of the scatter of log2(scale) the means of rows and of columns explain, and how many scales there
/// are: weights differ from row to row and from column to column, and the wrong order mixes both.
struct Structure {
  double explained = 0, total = 0, count = 0, means = 0;
};

Structure structure_of(const at::Tensor& scales) {
  const at::Tensor logs = scales.clamp_min(1e-30).log2().to(at::kDouble);
  const at::Tensor rows = logs.mean(1), columns = logs.mean(0), mean = logs.mean();
  const auto count = static_cast<double>(logs.numel());
  return {(logs.size(1) * (rows - mean).square().sum() + logs.size(0) * (columns - mean).square().sum())
              .item<double>(),
          (logs - mean).square().sum().item<double>(), count,
          static_cast<double>(logs.size(0) + logs.size(1))};
}

at::Tensor scale_grid(const Layer& layer, Order order) {
  const Entry& stored = *layer.side("weight_scale");
  const at::Tensor bytes = model::load_bytes(stored);
  const auto [rows, runs] = grid_of(layer);
  const at::Tensor grid = order == Order::kSwizzled ? format::unswizzle(bytes, rows, runs) : bytes;
  if (layer.dialect == Dialect::kNvfp4) return grid.view(at::kFloat8_e4m3fn).to(at::kFloat);
  return grid.to(at::kFloat).sub_(127).exp2_().masked_fill_(grid == 255, std::nanf(""));
}

/// Told by the values of layers whose shapes fit both.
Order told_by_values(const std::vector<const Layer*>& layers) {
  double gain = 0, means = 0;
  constexpr size_t kEnough = 8;
  for (const Layer* layer : std::span(layers).first(std::min(layers.size(), kEnough))) {
    const Structure rows = structure_of(scale_grid(*layer, Order::kRows)),
                    swizzled = structure_of(scale_grid(*layer, Order::kSwizzled));
    if (rows.total <= 0) continue;
    gain += rows.explained / rows.total * rows.count - swizzled.explained / swizzled.total * swizzled.count;
    means += rows.means;
  }
  // Of scales without structure each mean explains one part of `count`, give or take.
  constexpr double kClear = 8;
  if (std::abs(gain) < kClear * std::sqrt(2 * means + 1)) return Order::kUnknown;
  return gain > 0 ? Order::kRows : Order::kSwizzled;
}

void choose_order(Search& search) {
  std::vector<const Layer*> unclear;
  bool rows = false, swizzled = false;
  for (const auto& [name, layer] : search.layers) {
    if (!is_block_scaled(layer) || !layer.fault.empty()) continue;
    const bool as_rows = fits(layer, Order::kRows), as_swizzled = fits(layer, Order::kSwizzled);
    if (as_rows && as_swizzled) unclear.push_back(&layer);
    rows |= as_rows && !as_swizzled, swizzled |= as_swizzled && !as_rows;
  }
  if (rows != swizzled)
    search.found.scale_order = rows ? Order::kRows : Order::kSwizzled;
  else if (!rows && !unclear.empty())
    search.found.scale_order = told_by_values(unclear);
}

/// Nothing is decoded by a guess.
void refuse_unclear(Search& search) {
  if (search.found.scale_order != Order::kUnknown) return;
  for (auto& [name, layer] : search.layers) {
    if (!is_block_scaled(layer) || !layer.fault.empty() ||
        fits(layer, Order::kRows) != fits(layer, Order::kSwizzled))
      continue;
    layer.order_unknown = true;
    layer.fault =
        "neither shapes nor values tell the order of its codes and scales; 'migrate add-markers' with "
        "--scale-order swizzled (ComfyUI's) or rows (ModelOpt's) writes a file that says it";
  }
}

void find_nvfp4(Search& search) {
  for (const Entry& entry : search.entries()) {
    const auto [name, role] = split_name(entry.name());
    if (role != "weight_scale_2" || name.empty()) continue;
    const std::string base(name);
    const Entry *codes = search.find(base + ".weight"), *scale = search.find(base + ".weight_scale");
    if (!codes || !scale || codes->info->dtype != Dtype::kU8) continue;
    Layer* layer = search.add_foreign(Dialect::kNvfp4, *codes, codes->name(),
                                      {"weight_scale", "weight_scale_2", "pre_quant_scale"});
    if (!layer) continue;
    layer->format = "nvfp4";
    layer->plain_shape = codes->info->shape;
    if (!layer->plain_shape.empty()) layer->plain_shape.back() *= 2;
    const bool bytes = scale->info->dtype == Dtype::kF8E4M3 || scale->info->dtype == Dtype::kU8;
    if (layer->plain_shape.size() != 2 || !bytes || entry.info->numel() != 1 ||
        (!fits(*layer, Order::kRows) && !fits(*layer, Order::kSwizzled)))
      layer->fault = fmt::format("U8 {} and weight_scale {} are in no known order",
                                 shape_text(codes->info->shape), shape_text(scale->info->shape));
  }
}

void find_mxfp8(Search& search) {
  for (const Entry& entry : search.entries()) {
    const auto [name, role] = split_name(entry.name());
    const bool exponents = entry.info->dtype == Dtype::kU8 || entry.info->dtype == Dtype::kF8E8M0;
    if (role != "weight_scale" || name.empty() || !exponents) continue;
    const Entry* codes = search.find(std::string(name) + ".weight");
    if (!codes || !is_fp8(codes->info->dtype)) continue;
    Layer* layer = search.add_foreign(Dialect::kMxfp8, *codes, codes->name(), {"weight_scale"});
    if (!layer) continue;
    layer->format = "mxfp8";
    layer->plain_shape = codes->info->shape;
    if (layer->plain_shape.size() != 2 || (!fits(*layer, Order::kRows) && !fits(*layer, Order::kSwizzled)))
      layer->fault = fmt::format("{} and exponents {} are in no known order", shape_text(codes->info->shape),
                                 shape_text(entry.info->shape));
  }
}

}  // namespace

void find_block_scaled(Search& search) {
  find_nvfp4(search);
  find_mxfp8(search);
  choose_order(search);
  refuse_unclear(search);
}

QuantizedFile::ScaleOrder scale_order_of(const QuantizedFile& file, const Layer& layer) {
  if (fits(layer, Order::kRows) == fits(layer, Order::kSwizzled)) return file.scale_order;
  return fits(layer, Order::kRows) ? Order::kRows : Order::kSwizzled;
}

at::Tensor decode_block_scaled(const QuantizedFile& file, const Layer& layer) {
  const Order order = scale_order_of(file, layer);
  at::Tensor scales = scale_grid(layer, order);
  if (layer.dialect == Dialect::kMxfp8) return scaled_runs(model::load(*layer.weight), scales);
  scales.mul_(model::load(*layer.side("weight_scale_2")).to(at::kFloat).reshape({}));
  const at::Tensor weight = scaled_runs(
      unpack_e2m1(model::load_bytes(*layer.weight), /*even_is_high=*/order == Order::kSwizzled), scales);
  const Entry* factors = layer.side("pre_quant_scale");
  return factors ? weight * load_input_factors(*factors, weight.size(1)) : weight;
}

}  // namespace ctq::quantized
