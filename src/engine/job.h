// A conversion that is ready to run: settings, checked against each other, as the rooms below take them.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/client.h"
#include "ctq/engine/settings.h"
#include "linalg/bf16.h"
#include "lora/extract.h"
#include "lora/match.h"
#include "pipeline/convert.h"
#include "pipeline/format_choice.h"
#include "plan/pattern.h"
#include "plan/plan.h"

namespace ctq::engine {

/// What is shown instead of a conversion, besides the plan.
struct Analysis {
  bool blocks = false;                ///< what a plain FP8 cast costs each block
  bool errors = false;                ///< of each layer in each of `formats`
  bool suggest = false;               ///< the smallest of `formats` that is good enough
  std::vector<plan::Target> formats;  ///< of `errors` and `suggest`, smallest first
};

/// Adapters that are merged first.
struct Merging {
  struct File {
    std::string path;
    std::string label;  ///< of the setting that names it
    double strength = 1;
  };
  std::vector<File> files;  ///< in the order of merging; empty: nothing is merged
  lora::LayerMap map;
  bool allow_partial = false;  ///< half or more of a LoRA may match nothing
  std::string only_to;         ///< the merged model is written here and the run ends; empty: it is quantized
};

/// What holds for the whole process.
struct Process {
  int threads = 0;              ///< 0: as many as cores are free when work begins
  bool bounded_memory = false;  ///< freed memory goes back to the system at once
  linalg::Bf16Compute bf16;
};

struct Job {
  Settings settings;  ///< that it was made of
  std::string input;
  std::string output;  ///< given, or derived from the input's name; of a template run the template, and of
                       ///< loras.merged_only the merged model
  std::string whole_output;  ///< where `output` is one part's: what the parts are named after
  plan::Options plan;
  pipeline::RunOptions run;
  Process process;
  DryRun dry_run = DryRun::kNo;
  Analysis analysis;
  std::vector<std::string> reports;  ///< files for the conversion, the plan or the analysis by block
  bool strict = false;
  Names names = Names::kComfyUi;
  bool report_quality = false;
  bool threshold_is_binding = false;  ///< given explicitly: a layer below it is a failure
  Merging merging;
  bool smoothing_measured = false;           ///< layers were found that could have input factors of their own
  std::optional<pipeline::FormatGoal> goal;  ///< formats are chosen by measurement
  std::optional<lora::ExtractOptions> extraction;  ///< of a LoRA from the result
  std::string lora_output;
  std::vector<std::string> notes;             ///< about settings that have no effect in this combination
  std::set<std::string, std::less<>> unused;  ///< labels of those that `notes` have said it of
  std::vector<std::string> warnings;          ///< about settings that are likely not meant so
};

/// throws  Error(kUsage) for a conflict between settings; Error(kFailure) for a device that does not work;
///         what reading layers.config and loras.map throws
Job prepare(const Settings& settings);

/// True when some layers may get another target, so that the target's scaling and block size serve those too.
bool has_other_targets(const Settings& settings);

/// The path of a setting; throws Error(kUsage) where it was not given.
std::string required(const Setting<Path>& setting);

/// Of several.
std::vector<std::string> paths_of(const Setting<std::vector<Path>>& setting);

/// The device of that name; `auto` stays on the CPU, where the data are.
/// throws  Error(kFailure) when it is not there
at::Device device_of(const Setting<std::string>& setting);

/// A pattern of a setting.
/// throws  Error(kUsage) naming the setting when it does not compile
plan::Pattern pattern_of(const Setting<std::string>& setting);

/// The client of a setting; nothing where it was not given.
/// throws  Error(kUsage) naming the setting
std::optional<client::Client> client_of(const Setting<std::string>& setting);

/// throws  Error(kUsage): a report's name with another suffix than .html, .json and, with csv, .csv
void check_report_names(const AnySetting& setting, const std::vector<std::string>& paths, bool csv);

/// The text of a file that a setting names.
/// throws  Error(kBadInput) naming the setting when it cannot be read
std::string text_of_file(const AnySetting& setting, const std::string& path);

/// What an extracted LoRA is like.
/// throws  Error(kUsage) for a pattern that does not compile
lora::ExtractOptions extraction_of(const Loras& loras);

/// "model" + "_simple_int8_bs128.safetensors": the output's name when none is given (docs/cli.md, "Output
/// names").
std::string derived_output(const std::string& input, const plan::Options& options,
                           const optimize::Optimizer& optimizer);

}  // namespace ctq::engine
