// Markers for files that have scales only.
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/round_up.h"
#include "base/text.h"
#include "format/swizzle.h"
#include "marker_of_scale.h"
#include "mover.h"
#include "quantized/decoded_view.h"
#include "quantized/scale_order.h"
#include "quantized/scale_tiles.h"
#include "rewrite/migrate.h"

namespace ctq::rewrite {
namespace {

using quantized::Dialect;
using quantized::Layer;
using quantized::QuantizedFile;
using safetensors::Dtype;
using Entry = model::Checkpoint::Entry;
using Order = QuantizedFile::ScaleOrder;
using Shape = std::vector<int64_t>;

template <typename... Args>
[[noreturn]] void refuse(const Layer& layer, fmt::format_string<Args...> fault, Args&&... args) {
  fail(ErrorCode::kBadInput, "layer '{}' ({}) gets no marker: {}", printable(layer.name),
       layer.dialect_label(), fmt::format(fault, std::forward<Args>(args)...));
}

/// Zero points of zeros say nothing; of others no format of markers knows.
bool has_zero_points(const Layer& layer) {
  for (const char* role : {"zero_point", "weight_zero_point"}) {
    const Entry* zeros = layer.side(role);
    if (zeros && model::load(*zeros).to(at::kFloat).ne(0).any().item<bool>()) return true;
  }
  return false;
}

/// What a format of one byte to a code can say: codes in the weight's own shape, times scales.
void require_product(const Layer& layer) {
  const Dtype codes = layer.weight->info->dtype;
  if (!layer.fault.empty()) refuse(layer, "{}", layer.fault);
  if (layer.scale() == nullptr && !layer.side("scale") && !layer.side("weight_scale"))
    refuse(layer, "no format of ComfyUI has such codes; dequantize decodes them");
  if ((codes != Dtype::kI8 && !is_fp8(codes)) || layer.weight->info->shape != layer.shape())
    refuse(layer, "no format of ComfyUI has such codes; dequantize decodes them");
  if (layer.rotated_run > 0) refuse(layer, "its columns are rotated; dequantize decodes them");
  if (has_zero_points(layer)) refuse(layer, "no format of ComfyUI has zero points; dequantize decodes them");
  for (const char* role : {"svd_up", "weight_g_idx"})
    if (layer.side(role)) refuse(layer, "no format of ComfyUI has a {}; dequantize decodes it", role);
}

const Entry& scale_of(const Layer& layer) {
  if (const Entry* scale = layer.scale()) return *scale;
  return layer.side("scale") ? *layer.side("scale") : *layer.side("weight_scale");
}

/// The shape under which the scale belongs in the file.
Shape scale_shape(const Layer& layer, const Entry& scale) {
  const Shape &weight = layer.weight->info->shape, &shape = scale.info->shape;
  if (scale.info->numel() == 1) return {};
  if (weight.size() != 2) refuse(layer, "a weight {} with several scales", shape_text(weight));
  const bool by_row = shape[0] == weight[0];
  if (by_row && scale.info->numel() == weight[0])
    return layer.weight->info->dtype == Dtype::kI8 ? Shape{weight[0], 1} : Shape{weight[0]};
  const auto tiles = quantized::tiles_of_scale(shape, weight[0], weight[1]);
  if (by_row && tiles && shape.size() == 2) return {shape[0], shape[1], 1};  // runs of columns
  if (!tiles || (shape.size() == 2 && tiles->rows != tiles->cols))
    refuse(layer, "no format of ComfyUI has scales {} for a weight {}; dequantize decodes it",
           shape_text(shape), shape_text(weight));
  return shape;
}

/// float32 of any float type, which loses nothing.
void put_scale(Mover& mover, const Entry& scale, const std::string& name, const Shape& shape) {
  mover.drop(scale.name());
  if (scale.info->dtype == Dtype::kF32) return mover.output().copy_as(scale, name, shape);
  mover.output().make(name, Dtype::kF32, shape, scale,
                      [&scale, shape] { return model::load(scale).to(at::kFloat).reshape(shape); });
}

/// Of layers whose codes have one scale, which loaders may divide inputs by.
void put_input_scale(Mover& mover, const Layer& layer, const Shape& scale) {
  for (const char* role : {"input_scale", "scale_input", "activation_scale", "qscale_act"}) {
    const Entry* input = layer.side(role);
    if (!input) continue;
    mover.drop(input->name());
    const bool read = is_fp8(layer.weight->info->dtype) && scale.empty() && input->info->numel() == 1 &&
                      safetensors::is_float(input->info->dtype);
    if (read) return put_scale(mover, *input, layer.name + ".input_scale", {});
  }
}

void mark_product(Mover& mover, const Layer& layer, bool full_precision) {
  require_product(layer);
  const Entry& scale = scale_of(layer);
  if (!safetensors::is_float(scale.info->dtype)) refuse(layer, "its scale is no float");
  const Shape shape = scale_shape(layer, scale);
  if (layer.weight->info->dtype == Dtype::kF8E5M2 && !shape.empty())
    refuse(layer, "no format of ComfyUI has E5M2 codes with several scales; dequantize decodes them");
  for (const auto& [role, side] : layer.sides) mover.drop(side->name());
  mover.rename(layer.weight, layer.plain_name());
  put_scale(mover, scale, layer.name + ".weight_scale", shape);
  put_input_scale(mover, layer, shape);
  mover.mark(layer.name, marker_of_scale(layer, shape, full_precision));
}

Order order_for(const QuantizedFile& file, const Layer& layer, const MigrationOptions& options) {
  if (!layer.fault.empty() && !layer.order_unknown) refuse(layer, "{}", layer.fault);
  const Order told = scale_order_of(file, layer), order = options.scale_order.value_or(told);
  if (order == Order::kUnknown) refuse(layer, "{}", layer.fault);
  if (told != Order::kUnknown && order != told)
    refuse(layer, "its scales are {}, not as --scale-order says",
           told == Order::kRows ? "in rows (ModelOpt)" : "swizzled (ComfyUI)");
  return order;
}

/// Two columns of a byte change places.
at::Tensor swapped(const at::Tensor& bytes) {
  return bytes.bitwise_left_shift(4).bitwise_or(bytes.bitwise_right_shift(4));
}

/// Rows of bytes, filled up with zeros.
at::Tensor padded(const at::Tensor& bytes, int64_t rows, int64_t columns) {
  return at::constant_pad_nd(bytes, {0, columns - bytes.size(1), 0, rows - bytes.size(0)});
}

/// Codes and scales in rows into ComfyUI's order: nibbles swapped, both padded, scales swizzled.
void put_reordered(Mover& mover, const Layer& layer) {
  const bool fp4 = layer.dialect == Dialect::kNvfp4;
  const Entry &weight = *layer.weight, &scale = *layer.side("weight_scale");
  const Shape stored = weight.info->shape;
  const int64_t pad = fp4 ? 16 : 32, rows = round_up(stored[0], pad),
                columns = fp4 ? round_up(stored[1], pad / 2) : round_up(stored[1], pad);
  mover.drop(weight.name());
  mover.drop(scale.name());
  mover.output().make(layer.plain_name(), weight.info->dtype, {rows, columns}, weight,
                      [&weight, fp4, rows, columns] {
                        const at::Tensor bytes = model::load_bytes(weight);
                        return padded(fp4 ? swapped(bytes) : bytes, rows, columns);
                      });
  const int64_t runs = columns / (fp4 ? 8 : 32);
  mover.output().make(
      layer.name + ".weight_scale", fp4 ? Dtype::kF8E4M3 : Dtype::kU8,
      {format::swizzled_rows(rows), format::swizzled_columns(runs)}, scale,
      [&scale, rows, runs] { return format::swizzle(padded(model::load_bytes(scale), rows, runs)); });
}

void mark_block_scaled(Mover& mover, const QuantizedFile& file, const Layer& layer,
                       const MigrationOptions& options) {
  const bool fp4 = layer.dialect == Dialect::kNvfp4;
  const Entry& scale = *layer.side("weight_scale");
  if (order_for(file, layer, options) == Order::kRows) {
    put_reordered(mover, layer);
  } else {
    mover.drop(scale.name());
    mover.output().put(layer.name + ".weight_scale", fp4 ? Dtype::kF8E4M3 : Dtype::kU8, scale.info->shape,
                       quantized::text_of(scale));
  }
  if (fp4) put_scale(mover, *layer.side("weight_scale_2"), layer.name + ".weight_scale_2", {});
  if (const Entry* input = layer.side("input_scale"); input && input->info->numel() == 1)
    put_scale(mover, *input, layer.name + ".input_scale", {});
  const Shape shape = layer.shape();
  mover.mark(layer.name,
             fmt::format(R"({{"format": "{}", "orig_shape": [{}, {}]}})", layer.format, shape[0], shape[1]));
}

/// Whether markers for it are made by another mode, or are there.
bool is_left(const Layer& layer) {
  switch (layer.dialect) {
    case Dialect::kMarker:
    case Dialect::kHeader:
    case Dialect::kRaw: return true;
    case Dialect::kScaledFp8: refuse(layer, "'migrate fp8-scaled' makes them");
    case Dialect::kLogScales: refuse(layer, "'migrate u8log --comfy_quant' makes them");
    default: return false;
  }
}

}  // namespace

Migrated add_markers(const QuantizedFile& file, const MigrationOptions& options, const std::string& path) {
  Migrated done;
  Mover mover(file);
  for (const Layer& layer : file.layers) {
    if (is_left(layer)) continue;
    if (layer.dialect == Dialect::kNvfp4 || layer.dialect == Dialect::kMxfp8) {
      done.asked += scale_order_of(file, layer) == Order::kUnknown;
      mark_block_scaled(mover, file, layer, options);
    } else {
      mark_product(mover, layer, options.full_precision_matrix_mult);
    }
    ++done.layers;
  }
  if (done.layers == 0)
    fail(ErrorCode::kBadInput, "{}: has no layer with codes and scales but no marker",
         file.checkpoint->path());
  for (const std::string& stray : file.strays) mover.drop(stray), ++done.dropped;
  quantized::erase_quantization(mover.metadata(), file);
  mover.write(path, options.save_metadata ? HeaderMap::kWritten : HeaderMap::kAsSource);
  return done;
}

}  // namespace ctq::rewrite
