#include "jobs.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <set>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/command_input.h"
#include "cli/conversion/conversion.h"
#include "cli/options/arguments.h"
#include "cli/options/spelling.h"
#include "linalg/device.h"
#include "model/checkpoint.h"

namespace ctq::cli::batch {
namespace {

namespace fs = std::filesystem;

/// Options that would make every file write to the same place.
constexpr std::array<std::string_view, 6> kOfOneFile = {"--output",      "--quality-json", "--report",
                                                        "--lora-output", "--lora-only-to", "--print-config"};

void refuse_single_file_options(const Arguments& arguments) {
  for (const std::string_view option : kOfOneFile) {
    if (arguments.chosen(conversion_spellings().find(option)->option->key()))
      fail(ErrorCode::kUsage, "argument {}: is for one file, and a batch has many; see --output-dir", option);
  }
}

/// One run of every file; empty: no recipe.
std::vector<std::string> recipes_of(const BatchOptions& batch) {
  std::vector<std::string> recipes;
  for (const std::string& list : paths_of(batch.recipes)) {
    for (std::string& recipe : comma_list(list)) {
      if (std::ranges::find(recipes, recipe) == recipes.end()) recipes.push_back(std::move(recipe));
    }
  }
  if (recipes.empty()) recipes.emplace_back();
  return recipes;
}

std::vector<std::string> lora_words(const std::vector<std::string>& loras, const BatchOptions& batch) {
  std::vector<std::string> words;
  if (loras.size() == 1) words.push_back("--merge-lora=" + loras[0]);
  if (loras.size() > 1) {
    for (const std::string& path : loras) words.push_back("--merge-loras=" + path);
  }
  if (batch.lora_scale.given()) words.push_back("--merge-lora-scale=" + *batch.lora_scale);
  return words;
}

/// Whole: its header, and that of each shard, fits its bytes.
std::vector<std::string> whole_output(const std::string& output) {
  for (const std::string& path : {output, output + ".index.json"}) {
    if (!fs::is_regular_file(path)) continue;
    try {
      return model::Checkpoint::open(path).files();
    } catch (const Error&) {
    }
  }
  return {};
}

/// The files that a conversion reads: its input's, and those that options name.
std::vector<std::string> files_read(const Arguments& arguments, const std::string& input) {
  std::vector<std::string> files = model::Checkpoint::open(input).files();
  for (const Option& option : arguments.options()) {
    const std::string key = option.key();
    if ((option.kind != Kind::kPath && option.kind != Kind::kPathList) || key == "output") continue;
    for (const std::string& path : arguments.list(key)) files.push_back(path);
  }
  if (arguments.text("recipe").ends_with(".json")) files.push_back(arguments.text("recipe"));
  return files;
}

bool is_finished(const Job& job, const Arguments& arguments) {
  const std::vector<std::string> outputs = whole_output(job.output);
  if (outputs.empty()) return false;
  try {
    auto oldest = fs::file_time_type::max();
    for (const std::string& path : outputs) oldest = std::min(oldest, fs::last_write_time(path));
    return std::ranges::all_of(files_read(arguments, job.input),
                               [&](const std::string& path) { return fs::last_write_time(path) <= oldest; });
  } catch (const Error&) {
    return false;  // the conversion says what is wrong with the input
  } catch (const fs::filesystem_error&) {
    return false;
  }
}

void refuse_shared_outputs(const std::vector<Job>& jobs) {
  std::map<std::string, const Job*> writers;
  for (const Job& job : jobs) {
    const auto [writer, fresh] = writers.emplace(fs::weakly_canonical(job.output).string(), &job);
    if (!fresh)
      fail(ErrorCode::kUsage, "{} and {} would both write {}", writer->second->label(), job.label(),
           job.output);
  }
}

/// The process that only starts others computes nothing, and takes no memory of a GPU.
std::vector<std::string> without_gpu(std::vector<std::string> words) {
  words.emplace_back("--device=cpu");
  return words;
}

}  // namespace

std::string Job::label() const { return recipe.empty() ? input : fmt::format("{} [{}]", input, recipe); }

std::vector<Job> make_jobs(std::span<const std::string> inputs, const BatchOptions& batch,
                           const std::vector<std::string>& conversion, const LoraChoice& loras) {
  std::vector<Job> jobs;
  std::set<std::string> outputs;
  for (const std::string& input : inputs) {
    const std::vector<std::string> of_lora = lora_words(loras.of(input), batch);
    for (const std::string& recipe : recipes_of(batch)) {
      Job job{.input = input, .recipe = recipe, .output = {}, .words = conversion};
      if (!recipe.empty()) job.words.push_back("--recipe=" + recipe);
      job.words.insert(job.words.end(), of_lora.begin(), of_lora.end());
      job.words.push_back("--input=" + input);
      const Arguments arguments = Arguments::parse(job.words);
      refuse_single_file_options(arguments);
      const engine::Job conversion_job = make_job(without_gpu(job.words));
      const auto placed = [&](const std::string& output) {
        return batch.output_dir.given() ? (*batch.output_dir / fs::path(output).filename()).string() : output;
      };
      job.output = placed(conversion_job.output);
      job.finished = *batch.skip_finished && conversion_job.dry_run == engine::DryRun::kNo &&
                     is_finished(job, arguments);
      const std::string& whole = conversion_job.whole_output;  // the child names its part
      job.words.push_back("--output=" + (whole.empty() ? job.output : placed(whole)));
      if (*batch.jobs > 1 && arguments.integer("threads") == 0) {
        job.words.push_back(
            fmt::format("--threads={}", std::max<int64_t>(1, linalg::available_cores() / *batch.jobs)));
      }
      outputs.insert(fs::weakly_canonical(job.output).string());
      jobs.push_back(std::move(job));
    }
    if (loras.active() && loras.of(input).empty()) warn("{}: there is no LoRA for it", input);
  }
  std::erase_if(jobs,
                [&](const Job& job) { return outputs.contains(fs::weakly_canonical(job.input).string()); });
  refuse_shared_outputs(jobs);
  return jobs;
}

}  // namespace ctq::cli::batch
