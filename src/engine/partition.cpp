#include "engine/partition.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "engine/parts.h"

namespace ctq::engine {
namespace {

using pipeline::Partition;

[[noreturn]] void refuse_text(std::string_view fact, std::string_view value) {
  fail(ErrorCode::kUsage, "{} (got '{}')", fact, printable(value));
}

std::optional<int64_t> whole_number(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// The variables in which a launcher says who a process is.
struct Launcher {
  const char* rank;
  const char* size;
  const char* first = nullptr;  ///< the rank of the first process; null: 0
  const char* step = nullptr;   ///< between the ranks of two processes; null: 1
};

// A Slurm array's job has the variables of the third as well, for the one task that it is by itself; what
// Open MPI starts within a Slurm job has all.
constexpr std::array kLaunchers = {
    Launcher{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
    Launcher{"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN",
             "SLURM_ARRAY_TASK_STEP"},
    Launcher{"SLURM_PROCID", "SLURM_NTASKS"},
    Launcher{"PMI_RANK", "PMI_SIZE"},
    Launcher{"JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"},
};

int64_t number_in(const char* variable, const Environment& environment) {
  const char* text = environment(variable);
  if (text == nullptr) refuse_text(fmt::format("the environment lacks {}", variable), "auto");
  const auto number = whole_number(text);
  if (!number) refuse_text(fmt::format("{} is '{}', no whole number", variable, printable(text)), "auto");
  return *number;
}

int64_t number_in(const char* variable, const Environment& environment, int64_t otherwise) {
  return variable != nullptr && environment(variable) != nullptr ? number_in(variable, environment)
                                                                 : otherwise;
}

Partition from_environment(const Environment& environment) {
  for (const Launcher& launcher : kLaunchers) {
    if (environment(launcher.rank) == nullptr) continue;
    const int64_t parts = number_in(launcher.size, environment);
    const int64_t offset = number_in(launcher.rank, environment) - number_in(launcher.first, environment, 0);
    const int64_t step = number_in(launcher.step, environment, 1);
    if (step < 1 || offset % step != 0 || offset < 0 || offset / step >= parts)
      refuse_text(fmt::format("{} is {}, which is none of {} in a row", launcher.rank,
                              environment(launcher.rank), parts),
                  "auto");
    return {.part = offset / step + 1, .parts = parts, .run = ""};
  }
  refuse_text("no scheduler says in the environment which part this is; give i/n", "auto");
}

Partition parse(const std::string& text, const Environment& environment) {
  if (text == "auto") return from_environment(environment);
  const size_t slash = text.find('/');
  if (slash == std::string::npos) refuse_text("must be i/n or auto", text);
  const auto part = whole_number(std::string_view(text).substr(0, slash));
  const auto parts = whole_number(std::string_view(text).substr(slash + 1));
  if (!part || !parts) refuse_text("must be i/n or auto", text);
  if (*part < 1 || *part > *parts) refuse_text("the part must be in 1..n", text);
  return {.part = *part, .parts = *parts, .run = ""};
}

}  // namespace

Partition parse_partition(const Setting<std::string>& setting, const Environment& environment) {
  return naming(setting, [&] { return parse(*setting, environment); });
}

void read_partition(Job& job) {
  const Setting<std::string>& asked = job.settings.output.partition;
  if (!asked.given()) return;
  const Partition partition = parse_partition(asked, [](const char* name) { return std::getenv(name); });
  const Settings& settings = job.settings;
  // What is of the whole output.
  for (const AnySetting* other :
       std::initializer_list<const AnySetting*>{&settings.output.max_shard_bytes, &settings.loras.extract,
                                                &settings.report.dry_run, &settings.loras.merged_only}) {
    if (other->given()) refuse(asked, fmt::format("does not go with {}, which needs the whole", *other));
  }
  if (*settings.rounding.seed < 0)
    refuse(asked,
           fmt::format("does not go with {} -1: each part would pick another seed", settings.rounding.seed));
  job.run.partition = partition;
  constexpr std::string_view kSuffix = ".safetensors";
  std::string& output = job.output;
  job.whole_output = output;
  const bool has_suffix = output.ends_with(kSuffix);
  if (has_suffix) output.resize(output.size() - kSuffix.size());
  output += fmt::format(".part-{}-of-{}{}", partition.part, partition.parts, has_suffix ? kSuffix : "");
}

}  // namespace ctq::engine
