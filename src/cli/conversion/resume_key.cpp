#include "resume_key.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/options/spelling.h"
#include "cli/version.h"
#include "ctq/cli/option_table.h"
#include "ctq/safetensors/index.h"
#include "ctq/safetensors/writer.h"

namespace ctq::cli {
namespace {

namespace fs = std::filesystem;

/// Options that the output's bytes and the report about them do not depend on.
constexpr std::array<std::string_view, 12> kWithoutEffect = {
    "input",   "output",   "no_clobber",   "low_memory",        "resume",  "partition",
    "verbose", "progress", "quality_json", "quality_threshold", "threads", "device"};

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

std::string options_text(const Arguments& arguments, const Settings& settings, Times times) {
  std::string text;
  for (const Option& option : arguments.options()) {
    const std::string key = option_key(option.name);
    if (std::ranges::find(kWithoutEffect, key) != kWithoutEffect.end()) continue;
    for (const std::string& word : arguments.list(key)) {
      const bool is_path =
          option.kind == Kind::kPath || option.kind == Kind::kPathList || word.ends_with(".json");
      text += fmt::format("{}={}\n", key, is_path ? stamp(word, times) : word);
    }
  }
  return text + fmt::format("seed {}\n", settings.run.optimizer.seed);
}

/// What may change a sum's last bit, which layers are ours, and what is remembered of each.
std::string machine_text(const pipeline::RunOptions& run) {
  std::string text = fmt::format("device {}, {} threads", run.device.str(), at::get_num_threads());
  if (run.partition) text += fmt::format(", part {} of {}", run.partition->part, run.partition->parts);
  if (run.count_values) text += ", values counted";
  return text;
}

}  // namespace

pipeline::ResumeKey resume_key(const Arguments& arguments, const Settings& settings,
                               const model::Checkpoint& checkpoint, const std::vector<std::string>& files) {
  return {.version = version(),
          .input = hash(input_text(checkpoint, files, Times::kMatter)),
          .options = hash(options_text(arguments, settings, Times::kMatter) + machine_text(settings.run))};
}

std::string partition_run(const Arguments& arguments, const Settings& settings,
                          const model::Checkpoint& checkpoint, const std::vector<std::string>& files) {
  return version() + hash(input_text(checkpoint, files, Times::kDiffer)) +
         hash(options_text(arguments, settings, Times::kDiffer));
}

}  // namespace ctq::cli
