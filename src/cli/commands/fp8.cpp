#include <algorithm>
#include <array>
#include <initializer_list>

#include <fmt/format.h>

#include "cli/command_input.h"
#include "cli/conversion/binding.h"
#include "cli/conversion/conversion.h"
#include "cli/options/spelling.h"
#include "commands.h"
#include "ctq/base/error.h"
#include "ctq/cli/option_table.h"
#include "ctq/engine/output_path.h"
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

/// A setting from an option of this command.
template <typename T>
void set(engine::Setting<T>& setting, const Arguments& arguments, std::string_view option, T value) {
  setting.set(std::move(value), arguments.given(option) ? engine::By::kUser : engine::By::kDefault,
              arguments.text(option));
}

void read_adaround(const Arguments& arguments, engine::Learning& learning) {
  set(learning.lr, arguments, "lr", std::optional(arguments.number("lr")));
  learning.lr = *learning.lr;
  set(learning.reg_lambda, arguments, "reg_lambda", arguments.number("reg_lambda"));
  set(learning.beta_start, arguments, "beta_start", arguments.number("beta_start"));
  set(learning.beta_end, arguments, "beta_end", arguments.number("beta_end"));
  set(learning.least_gain, arguments, "early_stop_threshold", arguments.number("early_stop_threshold"));
  set(learning.solver, arguments, "optimizer",
      engine::value_of<AdaRoundSolver>(arguments.text("optimizer")).value());
  set(learning.half_products, arguments, "use_amp", arguments.flag("use_amp"));
  set(learning.drawn_rows, arguments, "calib_samples",
      arguments.given("calib_samples") ? arguments.integer("calib_samples") : kAdaRoundRows);
  set(learning.drawn_at_once, arguments, "batch_size", arguments.integer("batch_size"));
}

void read_rounding(const Arguments& arguments, const Optimizer& method, engine::Settings& settings) {
  settings.rounding.optimizer.set(&method, engine::By::kUser, std::string(method.name));
  settings.rounding.scales.set(optimize::Scales::kAbsmax, engine::By::kDefault);
  engine::Learning& learning = settings.learning;
  if (arguments.given("num_iter"))
    set(learning.iterations, arguments, "num_iter", arguments.integer("num_iter"));
  if (&method == &optimize::kAdaRound) read_adaround(arguments, learning);
  if (&method == &optimize::kTpec) {
    learning.min_k.set(arguments.integer("top_k"), engine::By::kDefault);
    learning.max_k.set(arguments.integer("top_k"), engine::By::kDefault);
  }
}

void read_filters(const Arguments& arguments, const Optimizer& method, engine::Layers& layers) {
  const bool adaround = &method == &optimize::kAdaRound;
  std::vector<std::string> keep, remove;
  if (arguments.flag("t5xxl")) {
    keep = {"norm", "bias", "embed_tokens", "shared"};
    if (!adaround) remove = {"decoder", "lm_head"};
  }
  if (arguments.flag("keep_distillation")) {
    for (const char* name : {"distilled_guidance_layer", "final_layer", "img_in", "txt_in"})
      keep.emplace_back(name);
  }
  layers.keep_containing = keep;
  layers.remove_containing = remove;
  layers.min_elements = arguments.given("min_tensor_size") ? arguments.integer("min_tensor_size")
                        : adaround                         ? kAdaRoundElements
                                                           : 0;
  layers.min_side = adaround ? kAdaRoundSide : 0;
}

/// Scales, and what stands for the whole file.
void read_storage(const Arguments& arguments, const Optimizer& method, engine::Settings& settings) {
  const bool legacy = arguments.flag("legacy"), t5xxl = arguments.flag("t5xxl");
  const std::string& asked = arguments.text("scale_format");
  const bool one_byte = asked.empty() ? &method == &optimize::kAdaRound && legacy : asked == "u8log";
  if (one_byte && !legacy)
    fail(ErrorCode::kUsage,
         "argument --scale_format: one-byte scales have no form beside markers; use f32 (got '{}')", asked);
  engine::Target& target = settings.target;
  target.type = std::string("fp8");
  target.scaling = std::string("tensor");
  settings.output.comfy_layout = !legacy;
  target.logarithmic_scales.set(one_byte, engine::By::kDefault);
  target.shared_scales = arguments.given("use_shared_scales") ? arguments.flag("use_shared_scales")
                                                              : &method == &optimize::kAdaRound;
  if (!legacy) return;
  target.copied_input_scales = t5xxl;
  if (t5xxl) {
    target.scaled_fp8_elements = 0;
  } else if (&method == &optimize::kTpec) {
    target.scaled_fp8_elements = 2;
  } else if (&method == &optimize::kAdaRound) {
    target.scaled_fp8_elements = 1;
  }
}

/// What messages of the engine call the settings that only this command has options for.
void name_settings(engine::Settings& settings) {
  settings.input.path.set_label("--input");
  settings.output.path.set_label("--output");
  settings.output.comfy_layout.set_label("--no-legacy");
  settings.target.logarithmic_scales.set_label("--scale_format u8log");
  settings.rounding.optimizer.set_label("--method");
  settings.learning.iterations.set_label("--num_iter");
  settings.learning.lr.set_label("--lr");
  settings.learning.beta_start.set_label("--beta_start");
  settings.learning.beta_end.set_label("--beta_end");
  settings.learning.half_products.set_label("--use_amp");
  settings.learning.min_k.set_label("--top_k");
}

void note_random_inputs(const Arguments& arguments, std::vector<std::string>& notes) {
  if (!arguments.given("calibration_data")) {
    notes.emplace_back(
        "adaround learns from random inputs, which lower no real error; --calibration-data gives it real "
        "ones");
    return;
  }
  for (const std::string_view option : {"calib_samples", "batch_size"}) {
    if (arguments.given(option))
      notes.push_back(fmt::format("{} has no effect with --calibration-data, but for layers it does not have",
                                  name_of(option)));
  }
}

void note_unused(const Arguments& arguments, const Optimizer& method, std::vector<std::string>& notes) {
  const auto note = [&](std::string_view option, std::string_view why) {
    if (arguments.given(option)) notes.push_back(fmt::format("{} has no effect {}", name_of(option), why));
  };
  if (&method != &optimize::kTpec) note("top_k", "without --method tpec");
  if (&method == &optimize::kAdaRound) return note_random_inputs(arguments, notes);
  for (const std::string_view option : kOfAdaRound) {
    if (std::ranges::count(kOfAllMethods, option) == 0) note(option, "without --method adaround");
  }
  note("calib_samples", "without --method adaround: biases are corrected with recorded inputs only");
}

/// The name that the older programs give.
std::string fp8_output(const Arguments& arguments, const engine::Settings& settings,
                       const Optimizer& method) {
  std::string name = engine::input_stem(settings.input.path->string()) + "_float8_e4m3fn_scaled";
  const bool tpec = &method == &optimize::kTpec;
  name += &method == &optimize::kAdaRound ? "_ultra" : tpec ? "_learned" : fmt::format("_{}", method.name);
  if (arguments.flag("keep_distillation")) name += "_nodistill";
  if (tpec) name += "_svd";
  if (*settings.target.logarithmic_scales) name += *settings.target.shared_scales ? "_8bit_shared" : "_8bit";
  return name + ".safetensors";
}

}  // namespace

engine::Job make_fp8_job(const Arguments& arguments) {
  std::vector<std::string> notes;
  const Optimizer& method = *optimize::find_optimizer(method_word(arguments, notes));
  if (!arguments.flag("parallel") && arguments.given("threads"))
    fail(ErrorCode::kUsage, "argument --parallel: is off; it does not go with --threads {}",
         arguments.text("threads"));
  engine::Settings settings;
  name_settings(settings);
  settings.input.path = required(arguments, "input");
  bind_some(arguments, {kSharedWithConversion.begin(), kSharedWithConversion.end()}, settings);
  if (!arguments.flag("parallel")) settings.compute.threads = 1;
  read_rounding(arguments, method, settings);
  read_filters(arguments, method, settings.layers);
  read_storage(arguments, method, settings);
  const bool writes_template = *settings.report.dry_run == engine::DryRun::kTemplate;
  if (arguments.given("output"))
    settings.output.path = arguments.text("output");
  else if (!writes_template)
    settings.output.path.set(fp8_output(arguments, settings, method), engine::By::kDefault);
  engine::Job job = engine::prepare(settings);
  job.notes.insert(job.notes.begin(), notes.begin(), notes.end());
  note_unused(arguments, method, job.notes);
  return job;
}

int run_fp8(const std::vector<std::string>& args) {
  const Arguments arguments = Arguments::parse(args, *command_options("fp8"));
  const Telling telling{.verbosity = arguments.flag("verbose") ? Verbosity::kVerbose : Verbosity::kNormal,
                        .progress = read_progress(arguments)};
  return run_conversion(make_fp8_job(arguments), telling);
}

}  // namespace ctq::cli
