// From the parsed command line to what the rooms below take.
#pragma once

#include <optional>
#include <string>

#include "analyze_options.h"
#include "ctq/base/log.h"
#include "ctq/cli/arguments.h"
#include "ctq/lora/extract.h"
#include "ctq/pipeline/convert.h"
#include "ctq/pipeline/format_choice.h"
#include "ctq/plan/plan.h"
#include "input_scales.h"
#include "lora_merging.h"
#include "renamed_input.h"

namespace ctq::cli {

enum class ProgressMode : unsigned char { kBar, kPlain, kJson, kNone };

enum class DryRun : unsigned char {
  kNo,
  kAnalyze,   ///< prints the plan
  kTemplate,  ///< writes it as a layer configuration
};

/// Everything a conversion needs to know, checked against each other, before the model is opened.
struct Settings {
  std::string input;
  std::string output;  ///< given, or derived from the input's name; of a template run the template, and of
                       ///< --lora-only-to the merged model
  plan::Options plan;
  pipeline::RunOptions run;
  DryRun dry_run = DryRun::kNo;
  AnalyzeOptions analysis;
  std::vector<std::string> reports;  ///< files for the conversion, the plan or the analysis by block
  bool json = false;
  bool no_clobber = false;
  bool strict = false;
  bool requantize = false;  ///< a quantized input is decoded first
  Names names = Names::kComfyUi;
  bool report_quality = false;
  double quality_threshold_db = 30;
  bool threshold_is_binding = false;  ///< given explicitly: a layer below it gives exit code 3
  std::string quality_json;
  std::string calibration_data;
  std::string calibration_lora;
  InputScaleOptions input_scales;
  MergeOptions merging;
  bool smoothing_measured = false;  ///< --smoothquant found layers that could have factors of their own
  std::optional<pipeline::FormatGoal> goal;        ///< formats are chosen by measurement
  std::optional<lora::ExtractOptions> extraction;  ///< of a LoRA from the result
  std::string lora_output;
  ProgressMode progress = ProgressMode::kNone;
  Verbosity verbosity = Verbosity::kNormal;
  std::vector<std::string> notes;     ///< about options that have no effect in this combination
  std::vector<std::string> warnings;  ///< about options that are likely not meant so
};

/// throws  Error(kUsage) for a conflict between options; Error(kFailure) for a device that does not work;
///         what reading --layer-config throws
Settings make_settings(const Arguments& arguments);

/// "model" + "_simple_int8_bs128.safetensors": the output's name when none is given (docs/cli.md, "Output
/// names").
std::string derived_output(const std::string& input, const plan::Options& options,
                           const optimize::Optimizer& optimizer);

}  // namespace ctq::cli
