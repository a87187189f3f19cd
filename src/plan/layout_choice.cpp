#include "layout_choice.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "base/error.h"
#include "client/client.h"
#include "families/sensitive.h"
#include "format/bank.h"
#include "format/log_scale.h"
#include "model/layer_names.h"
#include "model/weight_shape.h"

namespace ctq::plan {
namespace {

using format::Layout;

std::set<const format::Codec*> codecs_in_use(const Plan& plan) {
  std::set<const format::Codec*> codecs;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision == Decision::kQuantize) codecs.insert(tensor.target.codec);
  }
  return codecs;
}

/// Why legacy readers would misread the content; empty when they would not.
std::string legacy_obstacle(const Plan& plan, const Options& options) {
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision != Decision::kQuantize) continue;
    if (model::weight_shape(*tensor.source).experts > 0)
      return "the legacy layout has no form for banks of experts";
    if (full_precision_products(tensor, options) != options.full_precision_matrix_mult)
      return "the legacy layout cannot mark single layers for full-precision products";
    if (tensor.target.rotation_group > 0) return "the legacy layout cannot say that a weight is rotated";
  }
  const auto codecs = codecs_in_use(plan);
  if (codecs.size() > 1) return "the run mixes quantized formats, which the legacy layout cannot tell apart";
  for (const format::Codec* codec : codecs) {
    if (codec->incoherent) return "the legacy layout cannot say that a weight is rotated";
    if (codec->type == "int8") continue;
    if (codec->type != "fp8") return fmt::format("the legacy layout has no form for {}", codec->format);
    // Readers of the legacy layout take every layer for float8_e4m3fn with one scale.
    if (codec->grid().code() == linalg::Code::kE5M2)
      return "legacy readers take every weight for float8_e4m3fn";
    if (codec->granularity != format::Granularity::kTensor)
      return "legacy readers know one FP8 scale per weight";
    if (options.save_quant_metadata)
      return "ComfyUI ignores legacy scales where the header describes the layers (--save-quant-metadata)";
  }
  return "";
}

std::set<std::string_view> prefixes_in_use(const Plan& plan) {
  std::set<std::string_view> prefixes;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision != Decision::kQuantize) continue;
    prefixes.insert(model::checkpoint_prefix(tensor.source->name()));
  }
  return prefixes;
}

void add(Plan& plan, std::string name, safetensors::Dtype dtype, std::string bytes) {
  Generated generated;
  generated.info.name = std::move(name);
  generated.info.dtype = dtype;
  generated.info.shape = {static_cast<int64_t>(bytes.size())};
  generated.bytes = std::move(bytes);
  plan.generated.push_back(std::move(generated));
}

}  // namespace

bool multiplies(const TensorPlan& tensor) {
  return tensor.decision == Decision::kQuantize && model::weight_shape(*tensor.source).experts == 0 &&
         families::table_of(tensor.source->layer()) == families::Table::kNone;
}

bool has_log_scale(const TensorPlan& tensor) {
  return tensor.decision == Decision::kQuantize && tensor.target.codec == &format::log_scale_codec();
}

bool full_precision_products(const TensorPlan& tensor, const Options& options) {
  return tensor.full_precision_matrix_mult.value_or(options.full_precision_matrix_mult);
}

std::string marker_of(const TensorPlan& tensor, const Options& options) {
  const Target& target = tensor.target;
  const model::WeightShape shape = model::weight_shape(*tensor.source);
  const format::MarkerOptions marker = {
      .full_precision_matrix_mult = full_precision_products(tensor, options),
      .rotation_group = target.rotation_group,
      .out_features = shape.out_features,
      .in_features = shape.in_features,
      .linear_dtype = target.linear_dtype};
  return shape.experts > 0 ? format::bank_marker_json(*target.codec, target.block_size, shape.experts, marker)
                           : format::marker_json(*target.codec, target.block_size, marker);
}

void choose_layout(Plan& plan, const Options& options) {
  plan.layout = options.layout.value_or(Layout::kLegacy);
  if (plan.layout == Layout::kComfy || codecs_in_use(plan).empty()) return;
  const std::string obstacle = legacy_obstacle(plan, options);
  if (obstacle.empty()) return;
  if (options.layout)
    fail(ErrorCode::kUsage, "argument --comfy_quant: cannot be off: {} (got 'false')", obstacle);
  plan.layout = Layout::kComfy;
  plan.notes.push_back("--comfy_quant switched on: " + obstacle);
}

void add_input_scales(Plan& plan, const Options& options) {
  std::map<std::string_view, size_t> unread;  // layers by format
  for (const TensorPlan& tensor : plan.tensors) {
    if (!multiplies(tensor)) continue;
    const format::Codec& codec = *tensor.target.codec;
    if (options.input_scales.any() && !client::reads_input_scale(codec.format)) ++unread[codec.format];
    const std::string_view layer = tensor.source->layer();
    const auto scale = options.input_scales.of(layer, codec);
    if (!scale) continue;
    const auto value = static_cast<float>(*scale);
    std::string bytes(sizeof value, '\0');
    std::memcpy(bytes.data(), &value, sizeof value);
    add(plan, format::side_name(layer, "input_scale", plan.layout), safetensors::Dtype::kF32,
        std::move(bytes));
    plan.generated.back().info.shape = {};
  }
  for (const auto& [format, layers] : unread)
    plan.notes.push_back(fmt::format(
        "input scales of {} layers steer nothing: what reads {} scales the inputs itself", layers, format));
}

void add_markers(Plan& plan, const Options& options) {
  bool fp8 = false, int8 = false;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision != Decision::kQuantize) continue;
    (tensor.target.codec->type == "int8" ? int8 : fp8) = true;
    if (plan.layout == Layout::kLegacy) continue;
    add(plan, format::side_name(tensor.source->layer(), "comfy_quant", plan.layout), safetensors::Dtype::kU8,
        marker_of(tensor, options));
  }
  if (plan.layout == Layout::kComfy) return;
  if (fp8) {
    // Two elements mean full-precision matrix products, none or one lets the loader multiply in FP8; the
    // values mean nothing.
    const int64_t elements = options.scaled_fp8_elements.value_or(options.full_precision_matrix_mult ? 2 : 1);
    const std::string zeros(static_cast<size_t>(elements), '\0');
    for (const std::string_view prefix : prefixes_in_use(plan)) {
      add(plan, std::string(prefix) + "scaled_fp8", safetensors::Dtype::kF8E4M3, zeros);
    }
    if (std::ranges::any_of(plan.tensors, has_log_scale))
      add(plan, "scale_format", safetensors::Dtype::kU8, std::string(1, '\x08'));
  } else if (int8 && options.full_precision_matrix_mult) {
    plan.notes.push_back("--full_precision_matrix_mult has no effect: the legacy INT8 layout cannot say it");
  }
}

}  // namespace ctq::plan
