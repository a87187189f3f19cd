#include <algorithm>
#include <array>
#include <initializer_list>

#include <fmt/format.h>

#include "cli/command_input.h"
#include "cli/conversion/conversion.h"
#include "cli/options/spelling.h"
#include "cli/output_path.h"
#include "commands.h"
#include "ctq/base/error.h"
#include "ctq/cli/option_table.h"
#include "ctq/format/log_scale.h"
#include "fp8.h"

namespace ctq::cli {
namespace {

using optimize::AdaRoundSolver;
using optimize::Optimizer;

constexpr int64_t kAdaRoundRows = 96;
constexpr int64_t kAdaRoundElements = 1024, kAdaRoundSide = 32;

/// Given without --method, one of these chooses adaround.
constexpr std::array<std::string_view, 10> kOfAdaRound = {
    "lr",         "optimizer", "reg_lambda",      "beta_start",           "beta_end",
    "batch_size", "use_amp",   "min_tensor_size", "early_stop_threshold", "use_shared_scales"};
/// Of these, what all methods read.
constexpr std::array<std::string_view, 2> kOfAllMethods = {"min_tensor_size", "use_shared_scales"};

std::string name_of(std::string_view option) { return fmt::format("--{}", option); }

std::string method_word(const Arguments& arguments, std::vector<std::string>& notes) {
  if (arguments.given("method")) return arguments.text("method");
  const auto* const given =
      std::ranges::find_if(kOfAdaRound, [&](std::string_view option) { return arguments.given(option); });
  if (given == kOfAdaRound.end()) return "tpec";
  notes.push_back(fmt::format("{} chooses --method adaround", name_of(*given)));
  return "adaround";
}

/// The conversion's command line.
std::vector<std::string> conversion_words(const Arguments& arguments, const std::string& method) {
  std::vector<std::string> words = {"--input=" + required(arguments, "input"), "--fp8",
                                    "--scaling_mode=tensor", "--optimizer=" + method,

                                    arguments.flag("legacy") ? "--no-comfy_quant" : "--comfy_quant"};
  if (arguments.given("output")) words.push_back("--output=" + arguments.text("output"));
  if (arguments.flag("verbose")) words.emplace_back("--verbose=VERBOSE");
  if (!arguments.flag("parallel")) words.emplace_back("--threads=1");
  if (arguments.given("num_iter")) words.push_back("--num_iter=" + arguments.text("num_iter"));
  for (const std::string_view name : kSharedWithConversion) {
    const std::string key = option_key(name);
    if (!arguments.given(key)) continue;
    const auto option = std::ranges::find(option_table(), name, &Option::name);
    words.push_back(fmt::format(
        "{}={}", name,
        option->kind == Kind::kSwitch ? (arguments.flag(key) ? "true" : "false") : arguments.text(key)));
  }
  return words;
}

AdaRoundSolver solver_of(const std::string& word) {
  if (word == "adagrad") return AdaRoundSolver::kAdaGrad;
  if (word == "rmsprop") return AdaRoundSolver::kRmsProp;
  if (word == "adam") return AdaRoundSolver::kAdam;
  return word == "sgd" ? AdaRoundSolver::kSgd : AdaRoundSolver::kAdamW;
}

void read_adaround(const Arguments& arguments, Settings& settings) {
  optimize::Settings& optimizer = settings.run.optimizer;
  optimizer.adaround = {.iterations = optimizer.adaround.iterations,
                        .lr = arguments.number("lr"),
                        .reg_lambda = arguments.number("reg_lambda"),
                        .beta_start = arguments.number("beta_start"),
                        .beta_end = arguments.number("beta_end"),
                        .least_gain = arguments.number("early_stop_threshold"),
                        .solver = solver_of(arguments.text("optimizer")),
                        .half_products = arguments.flag("use_amp") && settings.run.device.is_cuda()};
  if (optimizer.adaround.beta_start < optimizer.adaround.beta_end)
    fail(ErrorCode::kUsage, "argument --beta_start: is below --beta_end {} (got '{}')",
         arguments.text("beta_end"), arguments.text("beta_start"));
  optimizer.drawn_rows =
      arguments.given("calib_samples") ? arguments.integer("calib_samples") : kAdaRoundRows;
  optimizer.drawn_at_once = arguments.integer("batch_size");
  if (arguments.given("use_amp") && !settings.run.device.is_cuda())
    settings.notes.emplace_back("--use_amp has no effect on the CPU");
  if (arguments.given("calibration_data")) {
    for (const std::string_view option : {"calib_samples", "batch_size"}) {
      if (arguments.given(option))
        settings.notes.push_back(fmt::format(
            "{} has no effect with --calibration-data, but for layers it does not have", name_of(option)));
    }
  } else {
    settings.notes.emplace_back(
        "adaround learns from random inputs, which lower no real error; --calibration-data gives it real "
        "ones");
  }
}

void note_unused(const Arguments& arguments, const Optimizer& method, std::vector<std::string>& notes) {
  const auto note = [&](std::string_view option, std::string_view why) {
    if (arguments.given(option)) notes.push_back(fmt::format("{} has no effect {}", name_of(option), why));
  };
  if (&method != &optimize::kTpec) note("top_k", "without --method tpec");
  if (&method == &optimize::kAdaRound) return;
  for (const std::string_view option : kOfAdaRound) {
    if (std::ranges::count(kOfAllMethods, option) == 0) note(option, "without --method adaround");
  }
  note("calib_samples", "without --method adaround: biases are corrected with recorded inputs only");
}

void read_filters(const Arguments& arguments, const Optimizer& method, plan::Options& plan) {
  const auto add = [](std::vector<std::string>& to, std::initializer_list<const char*> words) {
    to.insert(to.end(), words.begin(), words.end());
  };
  if (arguments.flag("t5xxl")) {
    add(plan.keep_containing, {"norm", "bias", "embed_tokens", "shared"});
    if (&method != &optimize::kAdaRound) add(plan.remove_containing, {"decoder", "lm_head"});
  }
  if (arguments.flag("keep_distillation"))
    add(plan.keep_containing, {"distilled_guidance_layer", "final_layer", "img_in", "txt_in"});
  const bool adaround = &method == &optimize::kAdaRound;
  plan.min_elements = arguments.given("min_tensor_size") ? arguments.integer("min_tensor_size")
                      : adaround                         ? kAdaRoundElements
                                                         : 0;
  plan.min_side = adaround ? kAdaRoundSide : 0;
}

/// Scales, and what stands for the whole file.
void read_storage(const Arguments& arguments, const Optimizer& method, Settings& settings) {
  const bool legacy = arguments.flag("legacy"), t5xxl = arguments.flag("t5xxl");
  const std::string& asked = arguments.text("scale_format");
  const bool one_byte = asked.empty() ? &method == &optimize::kAdaRound && legacy : asked == "u8log";
  if (one_byte && !legacy)
    fail(ErrorCode::kUsage,
         "argument --scale_format: one-byte scales have no form beside markers; use f32 (got '{}')", asked);
  plan::Options& plan = settings.plan;
  if (one_byte) {
    plan.target.codec = &format::log_scale_codec();
    settings.warnings.emplace_back(
        "no known loader reads one-byte scales (it takes the code itself for the scale); --scale_format f32 "
        "takes "
        "3 bytes more per layer");
  }
  settings.run.shared_scales = arguments.given("use_shared_scales") ? arguments.flag("use_shared_scales")
                                                                    : &method == &optimize::kAdaRound;
  if (!legacy) return;
  plan.copy_weight_scales = t5xxl;
  if (t5xxl) {
    plan.scaled_fp8_elements = 0;
  } else if (&method == &optimize::kTpec) {
    plan.scaled_fp8_elements = 2;
  } else if (&method == &optimize::kAdaRound) {
    plan.scaled_fp8_elements = 1;
  }
}

/// The name that the older programs give.
std::string fp8_output(const Arguments& arguments, const Settings& settings, const std::string& method) {
  std::string name = input_stem(settings.input) + "_float8_e4m3fn_scaled";
  const bool adaround = method == "adaround", tpec = method == "tpec";
  name += adaround ? "_ultra" : tpec ? "_learned" : "_" + method;
  if (arguments.flag("keep_distillation")) name += "_nodistill";
  if (tpec) name += "_svd";
  if (settings.plan.target.codec == &format::log_scale_codec())
    name += settings.run.shared_scales ? "_8bit_shared" : "_8bit";
  return name + ".safetensors";
}

}  // namespace

Settings make_fp8_settings(const Arguments& arguments) {
  std::vector<std::string> notes;
  const std::string word = method_word(arguments, notes);
  const Optimizer& method = *optimize::find_optimizer(word);
  if (!arguments.flag("parallel") && arguments.given("threads"))
    fail(ErrorCode::kUsage, "argument --parallel: is off; it does not go with --threads {}",
         arguments.text("threads"));
  Settings settings = make_settings(Arguments::parse(conversion_words(arguments, word)));
  settings.notes.insert(settings.notes.begin(), notes.begin(), notes.end());
  note_unused(arguments, method, settings.notes);
  settings.run.optimizer.scales = optimize::Scales::kAbsmax;
  if (&method == &optimize::kAdaRound) read_adaround(arguments, settings);
  if (&method == &optimize::kTpec) {
    optimize::SubspaceSettings& subspace = settings.run.optimizer.learned.subspace;
    subspace.min_k = subspace.max_k = arguments.integer("top_k");
  }
  read_filters(arguments, method, settings.plan);
  read_storage(arguments, method, settings);
  if (!arguments.given("output") && settings.dry_run != DryRun::kTemplate)
    settings.output = settings.run.output = fp8_output(arguments, settings, word);
  return settings;
}

int run_fp8(const std::vector<std::string>& args) {
  const Arguments arguments = Arguments::parse(args, *command_options("fp8"));
  return run_conversion(make_fp8_settings(arguments), arguments);
}

}  // namespace ctq::cli
