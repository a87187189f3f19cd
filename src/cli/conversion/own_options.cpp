#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/error.h"
#include "conversion_options.h"
#include "families/base_avoid.h"
#include "families/preset.h"
#include "optimize/optimizer.h"

namespace ctq::cli {
namespace {

using engine::By;
using engine::Setting;

/// The switches that name a type; --int8 first, which is what is written when none is named.
std::array<const Setting<bool>*, 5> type_switches(const OwnOptions& own) {
  return {&own.int8, &own.fp8, &own.fp16, &own.nvfp4, &own.mxfp8};
}

bool is_by_recipe(const engine::AnySetting& setting) { return setting.given() && !setting.by_user(); }

/// A recipe's target stands for the whole recipe: another one is not what was asked for.
void refuse_beside_recipe(const OwnOptions& own, const Setting<std::string>& format) {
  std::vector<const engine::AnySetting*> targets{&format};
  for (const Setting<bool>* type : type_switches(own)) targets.push_back(type);
  if (std::ranges::none_of(targets, [](const auto* each) { return is_by_recipe(*each); })) return;
  for (const engine::AnySetting* target : targets) {
    if (target->by_user())
      engine::refuse(own.recipe, fmt::format("names the target; it does not go with {}", *target));
  }
}

/// Type and format.
void take_target(const OwnOptions& own, engine::Target& target) {
  refuse_beside_recipe(own, target.format);
  const Setting<bool>*given = nullptr, *standard = &own.int8;
  for (const Setting<bool>* type : type_switches(own)) {
    if (type->by_user() && **type) {
      if (given) engine::refuse(*type, "only one target format can be chosen", given->label());
      given = type;
    }
    if (**type) standard = type;
  }
  if (given && !target.format->empty())
    engine::refuse(target.format, fmt::format("names the target; it does not go with {}", *given));
  if (!given && target.format->empty() && own.int8.by_user())
    engine::refuse(own.int8, fmt::format("is off, and no other target format is chosen; add {} or {}",
                                         own.fp8, own.fp16));
  const Setting<bool>& type = given ? *given : *standard;
  target.type.set(std::string(type.name()), given ? By::kUser : By::kDefault);
  target.type.set_label(type.label());
}

/// Old ways to say --streaming-mode.
void take_streaming(const OwnOptions& own, engine::Compute& compute, std::vector<std::string>& warnings) {
  for (const auto& [old, mode] :
       {std::pair{&own.streaming_aggressive, "aggressive"}, std::pair{&own.streaming, "balanced"}}) {
    if (!**old) continue;
    warnings.push_back(fmt::format("{} is an old spelling; write {} {}", *old, compute.streaming_mode, mode));
    compute.streaming_mode = mode;
    return;
  }
}

/// An older program's way to say what becomes of scales.
void take_scale_optimization(const OwnOptions& own, engine::Rounding& rounding,
                             std::vector<std::string>& notes) {
  if (own.scale_refinement.given())
    notes.push_back(fmt::format("{} has no effect: scales are refitted once", own.scale_refinement));
  if (!own.scale_optimization.given() || *own.scale_optimization == "fixed") return;
  if (rounding.scales.given())
    engine::refuse(own.scale_optimization, fmt::format("does not go with {}", rounding.scales));
  rounding.scales.set(optimize::Scales::kRefit, By::kUser);
  notes.push_back(fmt::format("{} {} is {} {}: fitted to the codes that were chosen", own.scale_optimization,
                              *own.scale_optimization, rounding.scales, rounding.scales.text()));
  rounding.scales.set_label(own.scale_optimization.label());
}

/// Names that this older program never makes NVFP4 or MXFP8, whatever the model.
void take_base_list(const OwnOptions& own, engine::Settings& settings) {
  const std::string& type = *settings.target.type;
  const std::string& format = *settings.target.format;
  if (*own.profile != "peer" ||
      (type != "nvfp4" && type != "mxfp8" && format != "nvfp4" && format != "mxfp8"))
    return;
  settings.layers.keep_containing.set(
      {std::begin(families::kBaseAvoidPeer), std::end(families::kBaseAvoidPeer)}, By::kDefault);
}

}  // namespace

std::string_view why_nothing_is_rounded(const engine::Settings& settings) {
  if (settings.loras.merged_only.given()) return "the merged model is written as it is";
  if (*settings.report.blocks) return "what is shown is a plain FP8 cast";
  return "";
}

void take_own(ConversionOptions& options, std::vector<std::string>& notes,
              std::vector<std::string>& warnings) {
  auto& [settings, own] = options;
  take_target(own, settings.target);
  std::vector<std::string> presets;
  for (const families::Preset* preset : families::presets()) {
    const auto found = own.presets.find(preset->name);
    if (found != own.presets.end() && found->second) presets.emplace_back(preset->name);
  }
  const By by = presets.empty() ? By::kDefault : By::kUser;
  settings.layers.presets.set(std::move(presets), by);
  settings.layers.presets.set_label("layer presets");
  settings.layers.by_family.set(own.recipe.given(), own.recipe.given() ? By::kRecipe : By::kDefault);
  take_base_list(own, settings);
  // What that program calls adaptive is smooth.
  Setting<optimize::Schedule>& schedule = settings.learning.schedule;
  if (*own.profile == "peer" && *schedule == optimize::Schedule::kAdaptive)
    schedule.set(optimize::Schedule::kAdaptiveCosine,
                 schedule.by_user() ? By::kUser
                 : schedule.given() ? By::kRecipe
                                    : By::kDefault,
                 "adaptive");
  take_streaming(own, settings.compute, warnings);
  take_scale_optimization(own, settings.rounding, notes);
  const auto note = [&](const engine::AnySetting& setting, std::string_view why) {
    if (setting.given()) notes.push_back(fmt::format("{} has no effect: {}", setting, why));
  };
  const engine::Report& report = settings.report;
  if (const std::string_view why = why_nothing_is_rounded(settings); !why.empty()) note(own.recipe, why);
  if (settings.loras.merged_only.given() || *report.blocks || *report.errors || *report.suggest ||
      *report.dry_run != engine::DryRun::kNo)
    note(own.progress, "only a conversion shows it");
  note(own.calib_cpu, "rows are drawn from the seed when they are needed");
  note(own.verbose_pinned, "no transfer of this program is pinned");
  note(own.normalize_scales, "scales have the shape that loaders expect");
}

}  // namespace ctq::cli
