// What modes that do less than a conversion do not read.
#include <fmt/ranges.h>

#include "engine/parts.h"
#include "engine/unused.h"

namespace ctq::engine {
namespace {

using Read = std::set<const AnySetting*>;

/// Of every mode: which file, and how the process works.
Read always_read(const Settings& settings) {
  const Compute& compute = settings.compute;
  return {&settings.input.path,   &settings.input.requantize, &settings.input.names,
          &compute.device,        &compute.threads,           &compute.low_memory,
          &compute.max_memory,    &settings.output.client,    &settings.report.dry_run,
          &settings.report.strict};
}

void note_unread_by_merging(const Settings& settings, std::vector<std::string>& notes) {
  const Loras& loras = settings.loras;
  Read read = always_read(settings);
  read.insert({&loras.files, &loras.last_file, &loras.strengths, &loras.dampen, &loras.map,
               &loras.allow_partial, &loras.merged_only, &settings.output.no_clobber});
  note_all_but(settings, read,
               fmt::format("with {}, which writes the merged model as it is", loras.merged_only), notes);
}

void note_unread_by_blocks(const Settings& settings, std::vector<std::string>& notes) {
  const Report& report = settings.report;
  Read read = always_read(settings);
  read.insert({&report.blocks, &report.json, &report.files});
  note_all_but(settings, read, fmt::format("with {}, which shows a plain FP8 cast", report.blocks), notes);
}

/// What only the run itself reads.
void note_unread_by_dry_run(const Settings& settings, std::vector<std::string>& notes) {
  const Report& report = settings.report;
  const Loras& loras = settings.loras;
  Read left{&report.quality,
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
  if (!*report.suggest) left.insert(&report.threshold_db);
  Read read;
  for_each(settings, [&](const auto& setting) {
    if (!left.contains(&setting)) read.insert(&setting);
  });
  note_all_but(settings, read, fmt::format("with {}, which converts nothing", report.dry_run), notes);
}

}  // namespace

void note_all_but(const Settings& settings, const std::set<const AnySetting*>& read, std::string_view why,
                  std::vector<std::string>& notes) {
  std::vector<std::string_view> unread;
  for_each(settings, [&](const auto& setting) {
    if (setting.by_user() && !read.contains(&setting)) unread.push_back(setting.label());
  });
  if (unread.empty()) return;
  notes.push_back(
      fmt::format("{} {} no effect {}", fmt::join(unread, ", "), unread.size() == 1 ? "has" : "have", why));
}

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
