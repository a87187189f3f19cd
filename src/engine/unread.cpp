// What modes that do less than a conversion do not read.
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/ranges.h>

#include "engine/parts.h"

namespace ctq::engine {
namespace {

using Some = std::set<const AnySetting*>;

/// One note for all settings that a user gave and that are unread, but for those that have one.
void note_those(Job& job, const std::function<bool(const AnySetting&)>& unread, std::string_view why) {
  std::vector<std::string_view> labels;
  for_each(job.settings, [&](const auto& setting) {
    if (setting.by_user() && unread(setting) && job.unused.emplace(setting.label()).second)
      labels.push_back(setting.label());
  });
  if (labels.empty()) return;
  job.notes.push_back(
      fmt::format("{} {} no effect {}", fmt::join(labels, ", "), labels.size() == 1 ? "has" : "have", why));
}

/// The same for all but these, and what every mode reads: which file, and how the process works.
void note_all_but(Job& job, Some read, std::string_view why) {
  const Settings& settings = job.settings;
  const Compute& compute = settings.compute;
  read.insert({&settings.input.path, &settings.input.requantize, &settings.input.names, &compute.device,
               &compute.threads, &compute.low_memory, &compute.max_memory, &settings.output.client,
               &settings.report.dry_run, &settings.report.strict});
  note_those(
      job, [&](const AnySetting& setting) { return !read.contains(&setting); }, why);
}

void note_unread_by_merging(Job& job) {
  const Loras& loras = job.settings.loras;
  note_all_but(job,
               {&loras.files, &loras.last_file, &loras.strengths, &loras.dampen, &loras.map,
                &loras.allow_partial, &loras.merged_only, &job.settings.output.no_clobber},
               fmt::format("with {}, which writes the merged model as it is", loras.merged_only));
}

void note_unread_by_blocks(Job& job) {
  const Report& report = job.settings.report;
  note_all_but(job, {&report.blocks, &report.json, &report.files},
               fmt::format("with {}, which shows a plain FP8 cast", report.blocks));
}

/// What only the run itself reads.
Some of_a_run(const Settings& settings) {
  const Report& report = settings.report;
  const Loras& loras = settings.loras;
  Some unread{&report.quality,
              &report.threshold_fails,
              &loras.extract,
              &loras.extracted,
              &loras.rank,
              &loras.target,
              &loras.depth,
              &loras.aspect_threshold,
              &loras.dtype,
              &settings.output.resume,
              &settings.calibration.bias_correction};
  if (!*report.suggest) unread.insert(&report.threshold_db);
  const Rounding& rounding = settings.rounding;
  const Some read{&rounding.optimizer,        &rounding.quality,     &rounding.simple,      &rounding.seconds,
                  &rounding.quip_transformed, &rounding.quip_scheme, &rounding.quip_per_row};
  for_each_of_rounding(settings, [&](const AnySetting& setting) {
    if (!read.contains(&setting)) unread.insert(&setting);
  });
  return unread;
}

/// With what a layer configuration has no word for, and rounding to nearest does not ask.
Some of_rounding_too(const Settings& settings) {
  Some unread = of_a_run(settings);
  const Rounding& rounding = settings.rounding;
  unread.insert({&rounding.optimizer, &rounding.quality, &rounding.simple, &rounding.seconds,
                 &settings.output.full_precision_matrix_mult, &settings.output.save_quant_metadata,
                 &settings.layers.custom_simple, &settings.layers.fallback_simple});
  return unread;
}

void note_unread_by_dry_run(Job& job) {
  const Settings& settings = job.settings;
  const Report& report = settings.report;
  Some unread = of_a_run(settings);
  std::string why = fmt::format("with {}, which converts nothing", report.dry_run);
  if (job.analysis.errors) {
    const Calibration& calibration = settings.calibration;
    const Layers& layers = settings.layers;
    unread = of_rounding_too(settings);
    unread.insert({&calibration.static_activations, &calibration.unit_input_scales, &calibration.input_scales,
                   &layers.custom_block_size, &layers.custom_full_precision, &layers.custom_convrot,
                   &layers.custom_convrot_group, &layers.fallback_block_size});
    why = fmt::format("with {}, which rounds to nearest and writes nothing", report.errors);
  } else if (job.analysis.suggest || job.dry_run == DryRun::kTemplate) {
    unread = of_rounding_too(settings);
    why = fmt::format("on a layer configuration, which does not hold that; give it again beside {}",
                      settings.layers.config);
  }
  if (job.analysis.errors || job.analysis.suggest)
    unread.insert({&settings.output.path, &settings.output.no_clobber, &settings.output.max_shard_bytes});
  note_those(
      job, [&](const AnySetting& setting) { return unread.contains(&setting); }, why);
}

}  // namespace

void note_unread(Job& job) {
  const Settings& settings = job.settings;
  const Setting<Path>& json = settings.report.quality_json;
  const bool merges = !job.merging.only_to.empty();
  if (json.given() && (merges || job.dry_run != DryRun::kNo))
    refuse(json, fmt::format("is written by a conversion, not with {}",
                             merges ? settings.loras.merged_only.label() : settings.report.dry_run.label()));
  if (merges) return note_unread_by_merging(job);
  if (job.analysis.blocks) return note_unread_by_blocks(job);
  if (job.dry_run != DryRun::kNo) note_unread_by_dry_run(job);
}

}  // namespace ctq::engine
