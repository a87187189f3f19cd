#include "base/error.h"
#include "base/text.h"
#include "engine/parts.h"

namespace ctq::engine {
namespace {

/// The settings that describe a target of its own; null: there is none.
struct TargetSettings {
  const Setting<std::string>& type;
  const Setting<bool>& simple;
  const Setting<std::string>* scaling;
  const Setting<int64_t>& block_size;
};

/// A switch that is off asks for nothing.
template <typename... Settings>
void refuse_without(const AnySetting& owner, const Settings&... settings) {
  const auto check = [&](const auto& setting) {
    if (setting.given() && setting.exact_text() != "false") refuse(setting, fmt::format("needs {}", owner));
  };
  (check(settings), ...);
}

const format::Codec* read_codec(const Settings& settings, const TargetSettings& own, Remarks remarks) {
  const std::string& type = *own.type;
  if (own.scaling && own.scaling->given()) {
    const format::Codec* codec = plan::codec_of_type(type, **own.scaling);
    if (!codec) refuse(*own.scaling, fmt::format("{} has no such layout", type));
    return codec;
  }
  // A recipe's scaling mode is for its own format, a profile's for all that have it.
  const Setting<std::string>& scaling = settings.target.scaling;
  const std::string inherited = scaling.by_user() || !scaling.given() ? *scaling : "";
  if (const format::Codec* codec = plan::codec_of_type(type, inherited)) return codec;
  const format::Codec* codec = plan::codec_of_type(type, "");
  if (scaling.by_user())
    remarks.notes.push_back(
        fmt::format("{} {} has no scaling mode {}; it takes {}", own.type, type, inherited, codec->label()));
  return codec;
}

plan::Target read_target_of(const Settings& settings, const TargetSettings& own, Remarks remarks) {
  const auto unused = [&](const AnySetting& setting, const std::string& target) {
    if (setting.given()) remarks.notes.push_back(fmt::format("{} has no effect with {}", setting, target));
  };
  plan::Target target;
  if (*own.type == "fp16") {
    if (own.scaling) unused(*own.scaling, "fp16");
    unused(own.block_size, "fp16");
    unused(own.simple, "fp16");
    return target;
  }
  target.codec = read_codec(settings, own, remarks);
  if (!target.codec->has_blocks()) {
    unused(own.block_size, target.codec->label());
    return target;
  }
  target.block_size = own.block_size.given() ? *own.block_size : *settings.target.block_size;
  return target;
}

plan::CustomLayers read_custom(const Settings& settings, Remarks remarks) {
  const Layers& layers = settings.layers;
  if (!layers.custom_type.given()) refuse(layers.custom, fmt::format("needs {}", layers.custom_type));
  plan::Target target = read_target_of(
      settings, {layers.custom_type, layers.custom_simple, &layers.custom_scaling, layers.custom_block_size},
      remarks);
  if (*layers.custom_simple) target.optimizer = &optimize::kNearest;
  if (*layers.custom_convrot) {
    if (!target.codec || !plan::takes_rotation(*target.codec))
      refuse(layers.custom_convrot, "goes with INT8 and a scale per row; the target is " + target.label());
    target.rotation_group = *layers.custom_convrot_group;
  } else if (layers.custom_convrot_group.given()) {
    remarks.notes.push_back(
        fmt::format("{} has no effect without {}", layers.custom_convrot_group, layers.custom_convrot));
  }
  std::optional<bool> full_precision;
  if (layers.custom_full_precision.given()) {
    if (target.codec)
      full_precision = *layers.custom_full_precision;
    else
      remarks.notes.push_back(fmt::format("{} has no effect with fp16", layers.custom_full_precision));
  }
  return {pattern_of(layers.custom), target, *layers.custom_heuristic, full_precision};
}

std::string_view type_of(const plan::Target& target) {
  return target.codec ? target.codec->type : std::string_view("fp16");
}

}  // namespace

bool has_other_targets(const Settings& settings) {
  const Layers& layers = settings.layers;
  return layers.custom_type.given() || layers.fallback_type.given() || layers.config.given();
}

plan::Pattern pattern_of(const Setting<std::string>& setting) {
  return naming(setting, [&] { return plan::Pattern(*setting); });
}

void read_custom_and_fallback(const Settings& settings, plan::Options& options, Remarks remarks) {
  const Layers& layers = settings.layers;
  if (layers.custom.given()) {
    options.custom = read_custom(settings, remarks);
  } else {
    refuse_without(layers.custom, layers.custom_type, layers.custom_block_size, layers.custom_scaling,
                   layers.custom_simple, layers.custom_heuristic, layers.custom_full_precision,
                   layers.custom_convrot, layers.custom_convrot_group);
  }
  if (!layers.fallback_type.given())
    return refuse_without(layers.fallback_type, layers.fallback_block_size, layers.fallback_simple);
  options.fallback = read_target_of(
      settings, {layers.fallback_type, layers.fallback_simple, nullptr, layers.fallback_block_size}, remarks);
  if (*layers.fallback_simple) options.fallback->optimizer = &optimize::kNearest;
  if (*layers.fallback_type == type_of(options.target))
    remarks.warnings.push_back(
        fmt::format("{} {} is the target's own type: excluded layers are quantized as well",
                    layers.fallback_type, *layers.fallback_type));
  if (options.presets.empty() && !options.exclude_layers)
    remarks.notes.push_back(fmt::format("{} has no effect: neither a preset nor {} excludes anything",
                                        layers.fallback_type, layers.exclude));
}

void read_layer_config(const Settings& settings, plan::Options& options, Remarks remarks) {
  const Layers& layers = settings.layers;
  if (!layers.config.given()) {
    if (*layers.config_full_match)
      remarks.notes.push_back(
          fmt::format("{} has no effect without {}", layers.config_full_match, layers.config));
    return;
  }
  try {
    options.layer_config = plan::LayerConfig::load(
        layers.config->string(),
        {.block_size = *settings.target.block_size, .full_match = *layers.config_full_match});
  } catch (const Error& error) {
    fail(error.code(), "argument {}: {} (got '{}')", layers.config, error.what(),
         printable(layers.config->string()));
  }
  for (const std::string& note : options.layer_config->notes()) remarks.notes.push_back(note);
}

}  // namespace ctq::engine
