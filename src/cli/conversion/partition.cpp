#include "partition.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "ctq/base/error.h"
#include "ctq/base/text.h"

namespace ctq::cli {
namespace {

using pipeline::Partition;

[[noreturn]] void refuse(std::string_view fact, std::string_view value) {
  fail(ErrorCode::kUsage, "argument --partition: {} (got '{}')", fact, printable(value));
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
  if (text == nullptr) refuse(fmt::format("the environment lacks {}", variable), "auto");
  const auto number = whole_number(text);
  if (!number) refuse(fmt::format("{} is '{}', no whole number", variable, printable(text)), "auto");
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
      refuse(fmt::format("{} is {}, which is none of {} in a row", launcher.rank, environment(launcher.rank),
                         parts),
             "auto");
    return {.part = offset / step + 1, .parts = parts, .run = ""};
  }
  refuse("no scheduler says in the environment which part this is; give i/n", "auto");
}

/// Options that are of the whole output.
constexpr std::array<std::string_view, 4> kOfTheWhole = {"max_shard_size", "extract_lora", "dry_run",
                                                         "lora_only_to"};

}  // namespace

Partition parse_partition(const std::string& text, const Environment& environment) {
  if (text == "auto") return from_environment(environment);
  const size_t slash = text.find('/');
  if (slash == std::string::npos) refuse("must be i/n or auto", text);
  const auto part = whole_number(std::string_view(text).substr(0, slash));
  const auto parts = whole_number(std::string_view(text).substr(slash + 1));
  if (!part || !parts) refuse("must be i/n or auto", text);
  if (*part < 1 || *part > *parts) refuse("the part must be in 1..n", text);
  return {.part = *part, .parts = *parts, .run = ""};
}

void read_partition(const Arguments& arguments, Settings& settings) {
  if (!arguments.given("partition")) return;
  const std::string& text = arguments.text("partition");
  const Partition partition = parse_partition(text, [](const char* name) { return std::getenv(name); });
  for (const std::string_view option : kOfTheWhole) {
    if (arguments.given(option))
      refuse(fmt::format("does not go with --{}, which needs the whole", option), text);
  }
  if (arguments.integer("manual_seed") < 0)
    refuse("does not go with --manual_seed -1: each part would pick another seed", text);
  settings.run.partition = partition;
  constexpr std::string_view kSuffix = ".safetensors";
  std::string& output = settings.output;
  const bool has_suffix = output.ends_with(kSuffix);
  if (has_suffix) output.resize(output.size() - kSuffix.size());
  output += fmt::format(".part-{}-of-{}{}", partition.part, partition.parts, has_suffix ? kSuffix : "");
}

}  // namespace ctq::cli
