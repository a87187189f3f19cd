#include "base/error.h"
#include "engine/parts.h"
#include "format/log_scale.h"

namespace ctq::engine {
namespace {

/// Format and granularity that are asked for, before they are known to go together.
struct Choice {
  std::string type;          ///< "int8", "fp8", "fp16", "nvfp4" or "mxfp8"; empty with a format's name
  std::string format;        ///< the loader's word; empty otherwise
  std::string scaling;       ///< empty when not given
  bool transformed = false;  ///< as QuIP rotates it
};

/// What QuIP's own settings say of the layout.
void read_quip_layout(const Settings& settings, Choice& choice) {
  const Rounding& rounding = settings.rounding;
  // A profile's scaling mode gives way to a layout that is asked for.
  const bool asked =
      rounding.quip_scheme.given() || rounding.quip_per_row.given() || *rounding.quip_transformed;
  if (asked && !settings.target.scaling.given()) choice.scaling.clear();
  const auto refuse_with_scaling = [&](const auto& setting) {
    if (setting.given() && !choice.scaling.empty())
      refuse(setting, fmt::format("does not go with {} {}", settings.target.scaling, choice.scaling));
  };
  refuse_with_scaling(rounding.quip_scheme);
  refuse_with_scaling(rounding.quip_per_row);
  const bool plain_int8 = choice.type == "int8" && choice.scaling.empty();
  if (*rounding.quip_transformed) {
    if (!plain_int8)
      refuse(rounding.quip_transformed, "is a layout of INT8 of its own, with one scale per row");
    if (!*rounding.quip_hadamard)
      refuse(rounding.quip_transformed,
             fmt::format("needs {}: no loader is told dense matrices", rounding.quip_hadamard));
    choice.transformed = true;
  } else if (plain_int8) {
    choice.scaling = *rounding.quip_scheme == "block" ? "block" : *rounding.quip_per_row ? "row" : "tensor";
  }
}

Choice choice_of(const Settings& settings) {
  const Target& target = settings.target;
  Choice choice{.type = target.format->empty() ? *target.type : "",
                .format = *target.format,
                .scaling = *target.scaling};
  // A profile's scaling mode is for the types that have it.
  if (!target.scaling.given() && choice.format.empty() && !plan::codec_of_type(choice.type, choice.scaling))
    choice.scaling.clear();
  if (!target.scaling.given() && !choice.format.empty()) choice.scaling.clear();
  const bool all_nearest = *settings.rounding.simple && !has_other_targets(settings);
  if (*settings.rounding.optimizer == &optimize::kQuip && !all_nearest) read_quip_layout(settings, choice);
  return choice;
}

const format::Codec* codec_of(const Choice& choice, const Target& target) {
  if (choice.transformed) return &format::quip_codec();
  if (*target.logarithmic_scales) return &format::log_scale_codec();
  if (!choice.format.empty()) {
    const format::Codec* codec = plan::codec_of_format(choice.format, choice.scaling);
    if (!codec)
      refuse(target.scaling, fmt::format("does not go with {} {}", target.format, choice.format),
             choice.scaling);
    return codec;
  }
  const format::Codec* codec = plan::codec_of_type(choice.type, choice.scaling);
  if (!codec)
    refuse(target.scaling,
           choice.type == "int8" ? "block3d is a layout of FP8; INT8 has block, axis, row and tensor"
                                 : fmt::format("does not go with {}", target.type),
           choice.scaling);
  return codec;
}

void read_rotation(const Target& asked, plan::Target& target, Remarks remarks) {
  const bool dynamic = *asked.dynamic_convrot;
  const bool always = target.codec->rotation == format::Rotation::kAlways;
  if (always && asked.convrot.given() && !*asked.convrot)
    refuse(asked.convrot, fmt::format("cannot be off: {} is always rotated", target.codec->format));
  if (!*asked.convrot && !dynamic && !always) {
    if (asked.convrot_group.given())
      remarks.notes.push_back(fmt::format("{} has no effect without {}", asked.convrot_group, asked.convrot));
    return;
  }
  if (!plan::takes_rotation(*target.codec)) {
    // A recipe's rotation gives way to a scaling mode that cannot hold it.
    if (!dynamic && !asked.convrot.by_user()) return;
    const Setting<bool>& setting = dynamic ? asked.dynamic_convrot : asked.convrot;
    refuse(setting, fmt::format("goes with INT8 and a scale per row ({} row); the target is {}",
                                asked.scaling, target.label()));
  }
  target.rotation_group = *asked.convrot_group;
  target.dynamic_rotation = dynamic;
}

/// What products of convrot_w4a4 are done in.
format::LinearDtype read_linear_dtype(const Settings& settings, const plan::Target& target) {
  const Setting<format::LinearDtype>& asked = settings.target.linear_dtype;
  if (!asked.given()) return format::LinearDtype::kInt4;
  if (!target.codec || !plan::takes_linear_dtype(*target.codec))
    refuse(asked, fmt::format(
                      "goes with {} convrot_w4a4 alone (single layers: linear_dtype in {}); the target is {}",
                      settings.target.format, settings.layers.config, target.label()));
  return *asked;
}

plan::Target read_fp16(const Settings& settings, bool alone, Remarks remarks) {
  const Target& asked = settings.target;
  plan::Target target;
  read_linear_dtype(settings, target);
  if (*asked.convrot || *asked.dynamic_convrot)
    refuse(*asked.convrot ? asked.convrot : asked.dynamic_convrot,
           "goes with INT8 and a scale per row; the target is float16", "true");
  const Calibration& calibration = settings.calibration;
  for (const AnySetting* setting : std::initializer_list<const AnySetting*>{
           &asked.scaling, &asked.block_size, &asked.convrot_group,
           &settings.output.full_precision_matrix_mult, &settings.output.comfy_layout,
           &settings.output.save_quant_metadata, &settings.layers.embeddings, &settings.layers.convolutions,
           &settings.rounding.simple, &settings.rounding.seed, &calibration.data, &calibration.lora,
           &calibration.unit_input_scales, &calibration.input_scales, &calibration.static_activations,
           &calibration.bias_correction, &settings.loras.extract}) {
    if (alone && setting->by_user())
      remarks.notes.push_back(fmt::format("{} has no effect where the target is float16", *setting));
  }
  return target;
}

}  // namespace

plan::Target read_target(const Settings& settings, Remarks remarks) {
  const Target& asked = settings.target;
  const Choice choice = choice_of(settings);
  const bool alone = !has_other_targets(settings);
  if (choice.type == "fp16") return read_fp16(settings, alone, remarks);
  plan::Target target;
  target.codec = codec_of(choice, asked);
  if (*asked.logarithmic_scales)
    remarks.warnings.push_back(fmt::format(
        "no known loader reads one-byte scales (it takes the code itself for the scale); without {} "
        "they take 3 bytes more per layer",
        asked.logarithmic_scales));
  read_rotation(asked, target, remarks);
  target.linear_dtype = read_linear_dtype(settings, target);
  if (target.codec->has_blocks()) {
    target.block_size = *asked.block_size;
  } else if (alone && asked.block_size.given() && target.codec->group > 0) {
    refuse(asked.block_size, fmt::format("does not go with {}, whose groups are of {} columns",
                                         target.codec->format, target.codec->group));
  } else if (alone && asked.block_size.given()) {
    remarks.notes.push_back(
        fmt::format("{} has no effect: {} has no blocks", asked.block_size, target.codec->label()));
  }
  return target;
}

plan::BlockFallback read_block_fallback(const Settings& settings, const plan::Target& target,
                                        Remarks remarks) {
  const Setting<plan::BlockFallback>& asked = settings.target.block_fallback;
  const bool fits_all = target.block_size == 0 && (!target.codec || target.codec->width_multiple == 1);
  if (asked.given() && fits_all && !has_other_targets(settings))
    remarks.notes.push_back(fmt::format("{} has no effect: the target has no blocks", asked));
  return *asked;
}

}  // namespace ctq::engine
