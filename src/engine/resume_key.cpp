#include "engine/resume_key.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/version.h"
#include "safetensors/index.h"
#include "safetensors/writer.h"

namespace ctq::engine {
namespace {

namespace fs = std::filesystem;

/// Whether files of equal size may have been written at another time.
enum class Times : uint8_t { kMatter, kDiffer };

std::string hash(const std::string& text) {
  return fmt::format("{:016x}", safetensors::checksum(std::as_bytes(std::span(text))));
}

/// Of a file, or of the files that a folder or an index stands for. Empty where there is none.
std::string stamp(const std::string& path, Times times) {
  std::error_code error;
  std::vector<std::string> files{path};
  if (path.ends_with(".index.json")) files = safetensors::resolve_checkpoint(path).files;
  if (fs::is_directory(path, error)) {
    files.clear();
    for (const auto& entry : fs::directory_iterator(path, error)) files.push_back(entry.path().string());
    std::ranges::sort(files);
  }
  std::string text;
  for (const std::string& file : files) {
    const uintmax_t bytes = fs::file_size(file, error);
    if (error) continue;
    text += fmt::format("{} {}", fs::path(file).filename().string(), bytes);
    if (times == Times::kMatter)
      text += fmt::format(" at {}", fs::last_write_time(file, error).time_since_epoch().count());
    text += '\n';
  }
  return text;
}

std::string input_text(const model::Checkpoint& checkpoint, const std::vector<std::string>& files,
                       Times times) {
  std::string text;
  for (const std::string& file : files) text += stamp(file, times);
  for (const model::Checkpoint::Entry& entry : checkpoint.entries())
    text += fmt::format("{} {} {} {}\n", entry.name(), safetensors::dtype_name(entry.info->dtype),
                        fmt::join(entry.info->shape, ","), entry.info->begin);
  for (const auto& [key, value] : checkpoint.metadata()) text += fmt::format("{}={}\n", key, value);
  return text;
}

/// All that the output's bytes and the report about them depend on.
std::string settings_text(const Job& job, Times times) {
  const Settings& settings = job.settings;
  const std::set<const AnySetting*> without_effect{
      &settings.input.path,          &settings.output.path,         &settings.output.no_clobber,
      &settings.compute.low_memory,  &settings.output.resume,       &settings.output.partition,
      &settings.report.quality_json, &settings.report.threshold_db, &settings.report.threshold_fails,
      &settings.compute.threads,     &settings.compute.device};
  std::string text;
  for_each(settings, [&]<typename T>(const Setting<T>& setting) {
    if (without_effect.contains(&setting)) return;
    if constexpr (std::is_same_v<T, Path>) {
      if (!setting->empty()) text += fmt::format("{}={}\n", setting.name(), stamp(setting->string(), times));
    } else if constexpr (std::is_same_v<T, std::vector<Path>>) {
      for (const Path& path : *setting)
        text += fmt::format("{}={}\n", setting.name(), stamp(path.string(), times));
    } else {
      text +=
          fmt::format("{}={}{}\n", setting.name(), setting.given() ? "" : "(default) ", setting.exact_text());
    }
  });
  return text + fmt::format("seed {}\n", job.run.optimizer.seed);
}

/// What may change a sum's last bit, which layers are ours, and what is remembered of each. The number of
/// threads changes nothing but what fits in memory, which pipeline::convert() adds.
std::string machine_text(const pipeline::RunOptions& run) {
  std::string text = fmt::format("device {}", run.device.str());
  if (run.partition) text += fmt::format(", part {} of {}", run.partition->part, run.partition->parts);
  if (run.count_values) text += ", values counted";
  return text;
}

}  // namespace

pipeline::ResumeKey resume_key(const Job& job, const model::Checkpoint& checkpoint,
                               const std::vector<std::string>& files) {
  return {.version = version(),
          .input = hash(input_text(checkpoint, files, Times::kMatter)),
          .options = hash(settings_text(job, Times::kMatter) + machine_text(job.run))};
}

std::string partition_run(const Job& job, const model::Checkpoint& checkpoint,
                          const std::vector<std::string>& files) {
  return version() + hash(input_text(checkpoint, files, Times::kDiffer)) +
         hash(settings_text(job, Times::kDiffer));
}

}  // namespace ctq::engine
