// Migrations that compute a scale.
#include <algorithm>
#include <cmath>
#include <set>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "format/marker_json.h"
#include "model/layer_names.h"
#include "mover.h"
#include "quantized/decode.h"
#include "rewrite/migrate.h"

namespace ctq::rewrite {
namespace {

using quantized::Dialect;
using quantized::Layer;
using quantized::QuantizedFile;
using Entry = model::Checkpoint::Entry;

/// 2^(e - 127) of the largest of E8M0 bytes.
float largest_block_scale(const Layer& layer, const Entry& scales) {
  if (scales.info->dtype != safetensors::Dtype::kU8 || scales.info->bytes() == 0)
    fail(ErrorCode::kBadInput, "layer '{}': weight_scale is {}, not U8", printable(layer.name),
         safetensors::dtype_name(scales.info->dtype));
  const std::string bytes = quantized::text_of(scales);
  const auto exponent = static_cast<unsigned char>(
      *std::ranges::max_element(bytes, {}, [](char c) { return static_cast<unsigned char>(c); }));
  if (exponent == 255) fail(ErrorCode::kBadInput, "layer '{}': a block scale is NaN", printable(layer.name));
  return std::ldexp(1.0f, exponent - 127);
}

/// The other file's scale of the layer, the largest of several.
std::optional<float> tensor_scale(const QuantizedFile& file, const std::string& name) {
  const Layer* layer = file.find(name);
  const Entry* scale = layer ? layer->scale() : nullptr;
  if (!scale || !safetensors::is_float(scale->info->dtype) || scale->info->bytes() == 0) return std::nullopt;
  return model::load(*scale).to(at::kFloat).max().item<float>();
}

}  // namespace

Migrated log_scales_to_f32(const QuantizedFile& file, const MigrationOptions& options,
                           const std::string& path) {
  if (!file.log_scales)
    fail(ErrorCode::kBadInput, "{}: has no one-byte logarithmic scales (no tensor `scale_format` of 8)",
         file.checkpoint->path());
  if (!file.header_fault.empty())
    fail(ErrorCode::kBadInput, "{}: {}", file.checkpoint->path(), file.header_fault);
  Migrated done;
  Mover mover(file);
  mover.metadata().erase("ctq.scale8");
  std::set<std::string> tokens(file.scaled_fp8.begin(), file.scaled_fp8.end());
  for (const std::string& token : file.tokens) {
    mover.drop(token);
    if (token.ends_with(".scale_weight")) ++done.dropped;
  }
  for (const Layer& layer : file.layers) {
    if (layer.dialect != Dialect::kLogScales) continue;
    const float scale = quantized::log_scale(file, layer);
    mover.drop(layer.side("scale_weight")->name());
    ++done.layers;
    if (!options.comfy_layout) {
      mover.output().put_scalar(layer.name + ".scale_weight", scale);
      if (file.scaled_fp8.empty())
        tokens.insert(fmt::format("{}scaled_fp8", model::checkpoint_prefix(layer.name)));
      continue;
    }
    mover.output().put_scalar(layer.name + ".weight_scale", scale);
    mover.rename(layer.side("scale_input"), layer.name + ".input_scale");
    const bool e5m2 = layer.weight->info->dtype == safetensors::Dtype::kF8E5M2;
    mover.mark(layer.name, e5m2 ? R"({"format": "float8_e5m2"})" : R"({"format": "float8_e4m3fn"})");
  }
  if (!options.comfy_layout) {
    for (const std::string& token : tokens)
      mover.output().put(token, safetensors::Dtype::kF8E4M3, {1}, std::string(1, '\0'));
  }
  mover.write(path);
  return done;
}

Migrated make_hybrid_mxfp8(const QuantizedFile& file, const MigrationOptions& options,
                           const std::string& path) {
  Migrated done;
  Mover mover(file);
  for (const Layer& layer : file.layers) {
    const Entry* scales = layer.side("weight_scale");
    if (layer.format != "mxfp8" || !layer.marker_fault.empty() || !scales) continue;
    float scalar = largest_block_scale(layer, *scales);
    if (options.tensor_scales) {
      const auto given = tensor_scale(*options.tensor_scales, layer.name);
      if (!given) {
        fail(ErrorCode::kBadInput, "{}: has no scale for layer '{}'",
             options.tensor_scales->checkpoint->path(), printable(layer.name));
      }
      scalar = *given;
    }
    mover.drop(layer.name + ".weight_scalar");
    mover.output().put_scalar(layer.name + ".weight_scalar", scalar);
    mover.mark(layer.name, format::edited_marker(layer.marker.text(),
                                                 {.remove = {}, .set = {{"format", "\"hybrid_mxfp8\""}}}));
    ++done.layers, ++done.added;
  }
  if (done.layers == 0) fail(ErrorCode::kBadInput, "{}: has no layer in mxfp8", file.checkpoint->path());
  mover.write(path);
  return done;
}

}  // namespace ctq::rewrite
