#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/text.h"
#include "format/marker_json.h"
#include "marker_of_scale.h"
#include "model/layer_names.h"
#include "mover.h"
#include "rewrite/migrate.h"

namespace ctq::rewrite {
namespace {

using quantized::Dialect;
using quantized::Layer;
using quantized::QuantizedFile;
using safetensors::Dtype;
using Entry = model::Checkpoint::Entry;

bool is_fp8(const Layer& layer) { return layer.weight && safetensors::is_fp8(layer.weight->info->dtype); }

[[noreturn]] void refuse(const QuantizedFile& file, std::string_view fact) {
  fail(ErrorCode::kBadInput, "{}: {}", file.checkpoint->path(), fact);
}

void require_scaled_fp8(const QuantizedFile& file) {
  if (file.scaled_fp8.empty())
    refuse(file, "has no tensor `scaled_fp8`, so it is not in the legacy scaled FP8 layout");
}

/// Products in full precision: what two elements of `scaled_fp8` mean. Of the token with the longest prefix
/// of the layer's name.
bool is_full_precision(const QuantizedFile& file, const Layer& layer) {
  const Entry* closest = nullptr;
  for (const std::string& name : file.scaled_fp8) {
    const std::string_view prefix =
        std::string_view(name).substr(0, name.size() - std::string_view("scaled_fp8").size());
    if (layer.name.starts_with(prefix) && (!closest || name.size() > closest->name().size()))
      closest = file.checkpoint->find(name);
  }
  return closest && closest->info->numel() == 2;
}

/// A scale of several dimensions has the shape that its format needs; one dimension may stand for square
/// blocks.
std::vector<int64_t> scale_shape(const Layer& layer, const Entry& scale) {
  const std::vector<int64_t>&weight = layer.weight->info->shape, &shape = scale.info->shape;
  if (weight.size() != 2 || shape.size() != 1 || shape[0] == 1 || shape[0] == weight[0]) return shape;
  for (int64_t edge = std::min(weight[0], weight[1]); edge > 1; --edge) {
    if (weight[0] % edge != 0 || weight[1] % edge != 0) continue;
    if ((weight[0] / edge) * (weight[1] / edge) == shape[0]) return {weight[0] / edge, weight[1] / edge};
  }
  return shape;
}

void refuse_low_precision(const QuantizedFile& file, const MigrationOptions& options) {
  if (!options.high_precision) return;
  std::vector<std::string> violations;
  for (const Layer& layer : file.layers)
    if (is_fp8(layer) && options.high_precision(layer.name)) violations.push_back(printable(layer.name));
  if (violations.empty()) return;
  fail(ErrorCode::kFailure, "{}: {} layers that should be of high precision (--hp-filter) are FP8: {}",
       file.checkpoint->path(), violations.size(), fmt::join(violations, ", "));
}

/// Zeros, since the values mean nothing.
void put_token(Output& output, const std::string& name, int64_t elements) {
  output.put(name, Dtype::kF8E4M3, {elements}, std::string(static_cast<size_t>(elements), '\0'));
}

}  // namespace

Migrated fp8_to_comfy(const QuantizedFile& file, const MigrationOptions& options, const std::string& path) {
  require_scaled_fp8(file);
  refuse_low_precision(file, options);
  Migrated done;
  Mover mover(file);
  for (const std::string& token : file.scaled_fp8) mover.drop(token);
  for (const std::string& stray : file.strays) mover.drop(stray), ++done.dropped;
  for (const Layer& layer : file.layers) {
    if (layer.dialect == Dialect::kMarker && layer.marker.has("params"))
      mover.mark(layer.name, format::flattened_marker(layer.marker.text()));
    if (layer.dialect != Dialect::kScaledFp8) continue;
    if (!is_fp8(layer)) {
      done.dropped += mover.drop_scales(layer);
      continue;
    }
    const Entry& scale = *layer.side("scale_weight");
    const std::vector<int64_t> shape = scale_shape(layer, scale);
    mover.drop(scale.name());
    mover.output().copy_as(scale, layer.name + ".weight_scale", shape);
    if (!mover.rename(layer.side("scale_input"), layer.name + ".input_scale") && options.unit_input_scales)
      mover.output().put_scalar(layer.name + ".input_scale", 1), ++done.added;
    mover.mark(
        layer.name,
        marker_of_scale(layer, shape, options.full_precision_matrix_mult || is_full_precision(file, layer)));
    ++done.layers;
  }
  if (done.layers == 0) refuse(file, "has no FP8 layer with a `scale_weight`");
  done.map_left_out = mover.write(path, options.save_metadata ? HeaderMap::kWritten : HeaderMap::kAsSource);
  return done;
}

Migrated comfy_to_fp8(const QuantizedFile& file, const MigrationOptions&, const std::string& path) {
  Migrated done;
  Mover mover(file);
  std::set<std::string> tokens;
  bool full = false, fast = false;
  for (const Layer& layer : file.layers) {
    if (layer.dialect == Dialect::kRaw) continue;
    const Entry* scale = layer.side("weight_scale");
    if (layer.format != "float8_e4m3fn" || !scale || scale->info->numel() != 1 || !is_fp8(layer)) {
      fail(ErrorCode::kBadInput,
           "layer '{}' is {} ({}); the legacy layout only has E4M3 weights with one scale",
           printable(layer.name), printable(layer.format), quantized::dialect_name(layer.dialect));
    }
    (layer.marker.flag("full_precision_matrix_mult") ? full : fast) = true;
    mover.rename(scale, layer.name + ".scale_weight");
    mover.rename(layer.side("input_scale"), layer.name + ".scale_input");
    mover.drop(layer.name + ".comfy_quant");
    tokens.insert(fmt::format("{}scaled_fp8", model::checkpoint_prefix(layer.name)));
    ++done.layers;
  }
  if (done.layers == 0) refuse(file, "has no FP8 layer with a marker");
  if (full && fast)
    refuse(file, "marks only some layers for full-precision products, which the legacy layout cannot say");
  for (const std::string& token : tokens) put_token(mover.output(), token, full ? 2 : 1);
  mover.write(path, HeaderMap::kLeftOut);
  return done;
}

Migrated add_input_scales(const QuantizedFile& file, const MigrationOptions&, const std::string& path) {
  require_scaled_fp8(file);
  Migrated done;
  Mover mover(file);
  for (const Layer& layer : file.layers) {
    if (layer.dialect != Dialect::kScaledFp8 || !is_fp8(layer)) continue;
    ++done.layers;
    if (layer.side("scale_input")) continue;
    mover.output().put_scalar(layer.name + ".scale_input", 1);
    ++done.added;
  }
  if (done.layers == 0) refuse(file, "has no FP8 layer with a `scale_weight`");
  for (const std::string& token : file.scaled_fp8) mover.drop(token), put_token(mover.output(), token, 1);
  mover.write(path);
  return done;
}

Migrated clean_fp8(const QuantizedFile& file, const MigrationOptions& options, const std::string& path) {
  Migrated done;
  Mover mover(file);
  std::set<std::string> tokens(file.scaled_fp8.begin(), file.scaled_fp8.end());
  for (const std::string& stray : file.strays) mover.drop(stray), ++done.dropped;
  for (const Layer& layer : file.layers) {
    const Entry* scale = layer.side("scale_weight");
    if (!scale || layer.dialect == Dialect::kLogScales) continue;
    if (!is_fp8(layer)) {
      done.dropped += mover.drop_scales(layer);
      continue;
    }
    ++done.layers;
    if (file.scaled_fp8.empty())
      tokens.insert(fmt::format("{}scaled_fp8", model::checkpoint_prefix(layer.name)));
    if (options.unit_input_scales && !layer.side("scale_input"))
      mover.output().put_scalar(layer.name + ".scale_input", 1), ++done.added;
  }
  if (done.layers == 0) refuse(file, "has no FP8 layer with a `scale_weight`");
  for (const std::string& token : tokens)
    mover.drop(token), put_token(mover.output(), token, options.marker_elements);
  mover.write(path);
  return done;
}

}  // namespace ctq::rewrite
