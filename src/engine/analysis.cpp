#include <algorithm>
#include <array>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "engine/parts.h"

namespace ctq::engine {
namespace {

plan::Target target_named(const Setting<std::string>& formats, const std::string& word,
                          const plan::Target& target, int64_t block_size) {
  const format::Codec* codec = plan::codec_of_format(word, "");
  static constexpr std::array<std::string_view, 4> kTypes{"int8", "fp8", "nvfp4", "mxfp8"};
  if (!codec && std::ranges::find(kTypes, word) != kTypes.end()) codec = plan::codec_of_type(word, "");
  if (!codec) refuse(formats, "no such format; --list-formats prints them", word);
  if (codec == target.codec) return target;
  plan::Target named;
  named.codec = codec;
  if (codec->has_blocks()) named.block_size = block_size;
  if (codec->rotation == format::Rotation::kAlways) named.rotation_group = plan::kUsualRotation;
  return named;
}

std::vector<plan::Target> formats_of(const Settings& settings, const plan::Target& target) {
  const Setting<std::string>& asked = settings.report.formats;
  if (!asked.given()) {
    if (!target.codec) refuse_to_have(asked, "is required where the target is float16");
    return *settings.report.suggest ? plan::formats_from(target) : std::vector{target};
  }
  std::vector<plan::Target> formats;
  for (const std::string& word : comma_list(*asked))
    formats.push_back(target_named(asked, word, target, *settings.target.block_size));
  if (formats.empty()) refuse(asked, "names no format");
  return formats;
}

}  // namespace

Analysis read_analysis(const Settings& settings, const plan::Target& target) {
  const Report& report = settings.report;
  struct Asked {
    const AnySetting& setting;
    bool on;
  };
  const std::array<Asked, 4> shown{{{report.layer_template, report.layer_template.given()},
                                    {report.blocks, *report.blocks},
                                    {report.errors, *report.errors},
                                    {report.suggest, *report.suggest}}};
  const Asked* chosen = nullptr;
  for (const Asked& asked : shown) {
    if (!asked.on) continue;
    if (*report.dry_run != DryRun::kAnalyze) refuse_to_have(asked.setting, "goes with the command analyze");
    if (chosen) refuse_to_have(asked.setting, fmt::format("does not go with {}", chosen->setting));
    chosen = &asked;
  }
  Analysis analysis{
      .blocks = *report.blocks, .errors = *report.errors, .suggest = *report.suggest, .formats = {}};
  const bool by_format = analysis.errors || analysis.suggest;
  if (report.formats.given() && !by_format)
    refuse_to_have(report.formats, fmt::format("goes with {} or {}", report.errors, report.suggest));
  if (analysis.suggest && *report.json)
    refuse_to_have(report.json, fmt::format("what {} prints is JSON already", report.suggest));
  if (by_format) analysis.formats = formats_of(settings, target);
  return analysis;
}

}  // namespace ctq::engine
