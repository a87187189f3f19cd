#include "routing_settings.h"

#include <array>
#include <span>
#include <string_view>

#include "ctq/base/error.h"
#include "ctq/base/text.h"

namespace ctq::cli {
namespace {

[[noreturn]] void refuse(std::string_view option, std::string_view fact, std::string_view value) {
  fail(ErrorCode::kUsage, "argument --{}: {} (got '{}')", option, fact, printable(value));
}

/// An option of the table by its key and as it is written.
struct Named {
  std::string_view key, spelling;
};

constexpr std::array<Named, 7> kOfCustomLayers = {
    {{"custom_block_size", "custom-block-size"},
     {"custom_scaling_mode", "custom-scaling-mode"},
     {"custom_simple", "custom-simple"},
     {"custom_heur", "custom-heur"},
     {"custom_full_precision_mm", "custom-full-precision-mm"},
     {"custom_convrot", "custom-convrot"},
     {"custom_convrot_group_size", "custom-convrot-group-size"}}};
constexpr std::array<Named, 2> kOfFallback = {
    {{"fallback_block_size", "fallback-block-size"}, {"fallback_simple", "fallback-simple"}}};

/// A switch that is off asks for nothing.
void refuse_without(const Arguments& arguments, std::span<const Named> options, std::string_view owner) {
  for (const auto& [key, spelling] : options) {
    if (!arguments.given(key) || arguments.text(key) == "false") continue;
    refuse(spelling, fmt::format("needs --{}", owner), arguments.text(key));
  }
}

/// The options that describe a target of its own.
struct TargetOptions {
  std::string type;    ///< "custom-type"
  Named scaling_mode;  ///< empty when there is none
  Named block_size;
};

const format::Codec* read_codec(const Arguments& arguments, const TargetOptions& names, std::string_view type,
                                std::vector<std::string>& notes) {
  if (!names.scaling_mode.key.empty() && arguments.given(names.scaling_mode.key)) {
    const std::string& mode = arguments.text(names.scaling_mode.key);
    const format::Codec* codec = plan::codec_of_type(type, mode);
    if (!codec) refuse(names.scaling_mode.spelling, fmt::format("{} has no such layout", type), mode);
    return codec;
  }
  const std::string inherited = arguments.given("scaling_mode") ? arguments.text("scaling_mode") : "";
  if (const format::Codec* codec = plan::codec_of_type(type, inherited)) return codec;
  const format::Codec* codec = plan::codec_of_type(type, "");
  notes.push_back(fmt::format("--{} {} has no scaling mode {}; it takes {}", names.type, type, inherited,
                              codec->label()));
  return codec;
}

plan::Target read_target_of(const Arguments& arguments, const TargetOptions& names, std::string_view type,
                            std::vector<std::string>& notes) {
  const auto unused = [&](const Named& option, const std::string& target) {
    if (!option.key.empty() && arguments.given(option.key))
      notes.push_back(fmt::format("--{} has no effect with {}", option.spelling, target));
  };
  plan::Target target;
  if (type == "fp16") {
    unused(names.scaling_mode, "fp16");
    unused(names.block_size, "fp16");
    return target;
  }
  target.codec = read_codec(arguments, names, type, notes);
  if (!target.codec->has_blocks()) {
    unused(names.block_size, target.codec->label());
    return target;
  }
  target.block_size =
      arguments.integer(arguments.given(names.block_size.key) ? names.block_size.key : "block_size");
  return target;
}

plan::CustomLayers read_custom(const Arguments& arguments, std::vector<std::string>& notes) {
  const std::string &expression = arguments.text("custom_layers"), &type = arguments.text("custom_type");
  if (!arguments.given("custom_type")) refuse("custom-layers", "needs --custom-type", expression);
  const TargetOptions names{
      .type = "custom-type", .scaling_mode = kOfCustomLayers[1], .block_size = kOfCustomLayers[0]};
  plan::Target target = read_target_of(arguments, names, type, notes);
  if (arguments.flag("custom_simple")) target.optimizer = &optimize::kNearest;
  if (arguments.flag("custom_convrot")) {
    if (!target.codec || !plan::takes_rotation(*target.codec))
      refuse("custom-convrot", "goes with INT8 and a scale per row; the target is " + target.label(), "true");
    target.rotation_group = arguments.integer("custom_convrot_group_size");
  } else if (arguments.given("custom_convrot_group_size")) {
    notes.emplace_back("--custom-convrot-group-size has no effect without --custom-convrot");
  }
  const bool heuristic = arguments.flag("custom_heur");
  std::optional<bool> full_precision;
  if (arguments.given("custom_full_precision_mm")) {
    full_precision = arguments.flag("custom_full_precision_mm");
    if (!target.codec) notes.emplace_back("--custom-full-precision-mm has no effect with fp16");
  }
  try {
    return {plan::Pattern(expression), target, heuristic, target.codec ? full_precision : std::nullopt};
  } catch (const Error& error) {
    fail(ErrorCode::kUsage, "argument --custom-layers: {}", error.what());
  }
}

std::string_view type_of(const plan::Target& target) {
  if (!target.codec) return "fp16";
  return target.codec->type;
}

}  // namespace

bool has_other_targets(const Arguments& arguments) {
  return arguments.given("custom_type") || arguments.given("fallback") || arguments.given("layer_config");
}

void read_custom_and_fallback(const Arguments& arguments, plan::Options& options,
                              std::vector<std::string>& notes, std::vector<std::string>& warnings) {
  if (arguments.given("custom_layers")) {
    options.custom = read_custom(arguments, notes);
  } else {
    if (arguments.given("custom_type"))
      refuse("custom-type", "needs --custom-layers", arguments.text("custom_type"));
    refuse_without(arguments, kOfCustomLayers, "custom-layers");
  }
  if (!arguments.given("fallback")) return refuse_without(arguments, kOfFallback, "fallback");
  const std::string& type = arguments.text("fallback");
  options.fallback = read_target_of(
      arguments, {.type = "fallback", .scaling_mode = {}, .block_size = kOfFallback[0]}, type, notes);
  if (arguments.flag("fallback_simple")) options.fallback->optimizer = &optimize::kNearest;
  if (type == type_of(options.target))
    warnings.push_back(
        fmt::format("--fallback {} is the target's own type: excluded layers are quantized as well", type));
  if (options.presets.empty() && !options.exclude_layers)
    notes.emplace_back("--fallback has no effect: neither a preset nor --exclude-layers excludes anything");
}

void read_layer_config(const Arguments& arguments, plan::Options& options, std::vector<std::string>& notes) {
  const bool full_match = arguments.flag("fullmatch");
  if (!arguments.given("layer_config")) {
    if (full_match) notes.emplace_back("--fullmatch has no effect without --layer-config");
    return;
  }
  const std::string& path = arguments.text("layer_config");
  try {
    options.layer_config = plan::LayerConfig::load(
        path, {.block_size = arguments.integer("block_size"), .full_match = full_match});
  } catch (const Error& error) {
    fail(error.code(), "argument --layer-config: {} (got '{}')", error.what(), printable(path));
  }
  for (const std::string& note : options.layer_config->notes()) notes.push_back(note);
}

}  // namespace ctq::cli
