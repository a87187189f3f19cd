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

/// One note for all settings that a user gave and that are unread.
void note_those(const Settings& settings, const std::function<bool(const AnySetting&)>& unread,
                std::string_view why, std::vector<std::string>& notes) {
  std::vector<std::string_view> labels;
  for_each(settings, [&](const auto& setting) {
    if (setting.by_user() && unread(setting)) labels.push_back(setting.label());
  });
  if (labels.empty()) return;
  notes.push_back(
      fmt::format("{} {} no effect {}", fmt::join(labels, ", "), labels.size() == 1 ? "has" : "have", why));
}

/// The same for all but these, and what every mode reads: which file, and how the process works.
void note_all_but(const Settings& settings, Some read, std::string_view why,
                  std::vector<std::string>& notes) {
  const Compute& compute = settings.compute;
  read.insert({&settings.input.path, &settings.input.requantize, &settings.input.names, &compute.device,
               &compute.threads, &compute.low_memory, &compute.max_memory, &settings.output.client,
               &settings.report.dry_run, &settings.report.strict});
  note_those(
      settings, [&](const AnySetting& setting) { return !read.contains(&setting); }, why, notes);
}

void note_unread_by_merging(const Settings& settings, std::vector<std::string>& notes) {
  const Loras& loras = settings.loras;
  note_all_but(settings,
               {&loras.files, &loras.last_file, &loras.strengths, &loras.dampen, &loras.map,
                &loras.allow_partial, &loras.merged_only, &settings.output.no_clobber},
               fmt::format("with {}, which writes the merged model as it is", loras.merged_only), notes);
}

void note_unread_by_blocks(const Settings& settings, std::vector<std::string>& notes) {
  const Report& report = settings.report;
  note_all_but(settings, {&report.blocks, &report.json, &report.files},
               fmt::format("with {}, which shows a plain FP8 cast", report.blocks), notes);
}

/// What only the run itself reads.
void note_unread_by_dry_run(const Settings& settings, std::vector<std::string>& notes) {
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
              &settings.rounding.sweeps,
              &settings.rounding.scales,
              &settings.rounding.seed,
              &settings.calibration.bias_correction};
  if (!*report.suggest) unread.insert(&report.threshold_db);
  note_those(
      settings, [&](const AnySetting& setting) { return unread.contains(&setting); },
      fmt::format("with {}, which converts nothing", report.dry_run), notes);
}

}  // namespace

void note_unread(Job& job) {
  const Settings& settings = job.settings;
  const Setting<Path>& json = settings.report.quality_json;
  const bool merges = !job.merging.only_to.empty();
  if (json.given() && (merges || job.dry_run != DryRun::kNo))
    refuse(json, fmt::format("is written by a conversion, not with {}",
                             merges ? settings.loras.merged_only.label() : settings.report.dry_run.label()));
  if (merges) return note_unread_by_merging(settings, job.notes);
  if (job.analysis.blocks) return note_unread_by_blocks(settings, job.notes);
  if (job.dry_run != DryRun::kNo) note_unread_by_dry_run(settings, job.notes);
}

}  // namespace ctq::engine
