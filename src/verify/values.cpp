#include "verify/values.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/cancel.h"
#include "base/error.h"
#include "base/text.h"
#include "format_rules.h"
#include "linalg/device.h"
#include "quantized/decode.h"

namespace ctq::verify {
namespace {

using quantized::Dialect;
using quantized::Layer;
using quantized::QuantizedFile;
using safetensors::Dtype;
using Entry = model::Checkpoint::Entry;

/// What is wrong with the values of a scale; empty when nothing is.
std::string scale_fault(const Entry& entry, bool positive) {
  if (entry.info->bytes() == 0) return "";
  at::Tensor values = model::load(entry);
  if (values.scalar_type() == at::kByte) values = values.view(at::kFloat8_e4m3fn);
  values = values.to(at::kFloat);
  if (!values.isfinite().all().item<bool>()) return "has NaN or infinity";
  const bool negative = (values < 0).any().item<bool>();
  if (positive && (negative || (values.numel() == 1 && values.item<float>() == 0)))
    return "has a value that is not above zero";
  return "";
}

bool can_hold_scales(const Entry& entry, Types types) {
  return safetensors::is_float(entry.info->dtype) ||
         (types == Types::kU8OrE4M3 && is_of(entry.info->dtype, types));
}

void check_scales(const Layer& layer, std::vector<Finding>& findings) {
  for (const char* role : {"scale_weight", "scale_input"}) {
    const Entry* side = layer.side(role);
    if (!side || !safetensors::is_float(side->info->dtype)) continue;
    if (std::string fault = scale_fault(*side, /*positive=*/true); !fault.empty())
      findings.push_back({layer.name, fmt::format("{} {}", role, fault)});
  }
  for (const SideRule& rule : side_rules(layer.format)) {
    const Entry* side = layer.side(rule.role);
    if (!side || !can_hold_scales(*side, rule.types)) continue;
    std::string fault = scale_fault(*side, rule.positive);
    if (fault.empty()) continue;
    const bool input = rule.role == "input_scale";
    if (input) fault += ": a GPU that multiplies in this format gives NaN; elsewhere it is not used";
    findings.push_back({layer.name, fmt::format("{} {}", rule.role, fault), /*refused=*/!input});
  }
}

/// A weight that is no code, beside a scale that legacy readers multiply it by all the same.
void check_kept(const Layer& layer, std::vector<Finding>& findings) {
  const Entry* scale = layer.dialect == Dialect::kScaledFp8 ? layer.side("scale_weight") : nullptr;
  if (!scale || scale->info->numel() != 1 || !safetensors::is_float(scale->info->dtype)) return;
  if (const float value = model::load(*scale).to(at::kFloat).item<float>(); value != 1)
    findings.push_back(
        {layer.name, fmt::format("a kept weight that ComfyUI multiplies by its scale_weight {:g}", value)});
}

/// E5M2 codes where ComfyUI reads E4M3: it casts them, and what E4M3 cannot hold becomes NaN.
void check_cast(const Layer& layer, std::vector<Finding>& findings) {
  const bool as_e4m3 = layer.dialect == Dialect::kScaledFp8 || layer.format == "float8_e4m3fn";
  if (!as_e4m3 || layer.weight->info->dtype != Dtype::kF8E5M2) return;
  constexpr float kLargestE4M3 = 448;
  const float largest = model::load(*layer.weight).to(at::kFloat).abs().max().item<float>();
  if (largest > kLargestE4M3)
    findings.push_back(
        {layer.name, fmt::format("E5M2 codes up to {:g} are cast to E4M3, which ends at 448: NaN", largest)});
}

/// Whether a layer cannot be decoded because of the file. Otherwise it is we who cannot.
bool is_fault(const Error& error) {
  if (error.code() != ErrorCode::kBadInput && error.code() != ErrorCode::kFailure) throw error;
  return error.code() == ErrorCode::kBadInput;
}

/// Values beside each other in the same or another float type.
bool same_values(const Entry& original, const Entry& entry) {
  if (original.info->shape != entry.info->shape) return false;
  if (original.info->dtype == entry.info->dtype && !original.computed && !entry.computed) {
    const auto a = original.file->bytes(*original.info), b = entry.file->bytes(*entry.info);
    return std::ranges::equal(a, b);
  }
  if (!safetensors::is_float(original.info->dtype) || !safetensors::is_float(entry.info->dtype)) return false;
  const at::Tensor stored = model::load(entry), cast = model::load(original).to(stored.scalar_type());
  return at::equal(at::nan_to_num(cast), at::nan_to_num(stored)) && at::equal(cast.isnan(), stored.isnan());
}

bool is_bias_of_quantized(const QuantizedFile& file, std::string_view name) {
  constexpr std::string_view kSuffix = ".bias";
  if (!name.ends_with(kSuffix)) return false;
  const Layer* layer = file.find(name.substr(0, name.size() - kSuffix.size()));
  return layer && layer->has_codes();
}

void compare_kept(const QuantizedFile& original, const QuantizedFile& file, std::vector<Finding>& findings) {
  for (const Entry& before : original.checkpoint->entries()) {
    throw_if_cancelled();
    if (original.is_side(before.name())) continue;
    const Layer* was = original.of_weight(before);
    const Entry* after = quantized::weight_named(file, was ? was->plain_name() : before.name());
    if (!after) {
      findings.push_back({before.name(), "in the original, but not in the file"});
      continue;
    }
    const Layer* is = file.of_weight(*after);
    if ((is && is->has_codes()) || (was && was->has_codes())) continue;  // measured
    if (same_values(before, *after)) continue;
    const bool bias = is_bias_of_quantized(file, before.name());
    findings.push_back(
        {before.name(),
         bias ? "differs from the original (a bias of a quantized layer)" : "differs from the original",
         /*refused=*/!bias});
  }
}

/// A matrix in FP8 without a scale beside quantized layers: nobody marked it, so it is taken for a tensor
/// that was kept. Convolutions are stored so.
void compare_raw(const QuantizedFile& original, const Layer& layer, std::vector<Finding>& findings) {
  const Entry* before = original.checkpoint->find(layer.weight->name());
  if (before && !same_values(*before, *layer.weight))
    findings.push_back({layer.weight->name(), "differs from the original: FP8 without a scale or a marker"});
}

}  // namespace

std::vector<Finding> check_values(const QuantizedFile& file) {
  std::vector<Finding> findings;
  for (const Layer& layer : file.layers) {
    throw_if_cancelled();
    if (!layer.weight || !layer.marker_fault.empty()) continue;
    check_scales(layer, findings);
    if (!layer.has_codes()) {
      check_kept(layer, findings);
      continue;
    }
    check_cast(layer, findings);
    try {
      const auto wrong = at::isfinite(quantized::decode(file, layer)).logical_not().sum().item<int64_t>();
      if (wrong > 0)
        findings.push_back({layer.name, fmt::format("{} values decode to NaN or infinity", wrong)});
    } catch (const Error& error) {
      findings.push_back({layer.name, error.what(), is_fault(error)});
    }
    layer.weight->file->release(*layer.weight->info);
  }
  return findings;
}

Differences compare(const QuantizedFile& original, const QuantizedFile& file,
                    const std::function<bool(const std::string& layer)>& wanted, at::Device device) {
  Differences found;
  const bool marked = std::ranges::any_of(
      file.layers, [](const Layer& layer) { return layer.has_codes() && layer.dialect != Dialect::kRaw; });
  for (const Layer& layer : file.layers) {
    throw_if_cancelled();
    if (!layer.weight || !layer.has_codes() || (wanted && !wanted(layer.name))) continue;
    if (marked && layer.dialect == Dialect::kRaw && layer.weight->info->shape.size() == 2) {
      compare_raw(original, layer, found.findings);
      continue;
    }
    const Entry* before = quantized::weight_named(original, layer.plain_name());
    if (!before) {
      found.findings.push_back({layer.name, "has no weight in the original"});
      continue;
    }
    try {
      const at::Tensor decoded = quantized::decode(file, layer), weight = quantized::load(original, *before);
      if (decoded.sizes() != weight.sizes())
        fail(ErrorCode::kBadInput, "it decodes to {}, the original has {}", shape_text(decoded.sizes()),
             shape_text(weight.sizes()));
      found.layers.push_back(
          {layer.name, layer.format, linalg::on_device_or_cpu(device, [&](at::Device place) {
             return metrics::weight_error(weight.to(place), decoded.to(place));
           })});
    } catch (const Error& error) {
      found.findings.push_back({layer.name, error.what(), is_fault(error)});
    }
    layer.weight->file->release(*layer.weight->info);
    before->file->release(*before->info);
  }
  if (!wanted) compare_kept(original, file, found.findings);
  return found;
}

}  // namespace ctq::verify
