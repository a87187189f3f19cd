#include <algorithm>
#include <initializer_list>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/command_input.h"
#include "cli/conversion/conversion.h"
#include "cli/conversion/conversion_options.h"
#include "cli/options/rows.h"
#include "commands.h"
#include "engine/output_path.h"
#include "fp8.h"

namespace ctq::cli {
namespace {

using optimize::AdaRoundSolver;
using optimize::Optimizer;

constexpr int64_t kAdaRoundRows = 96;
constexpr int64_t kAdaRoundElements = 1024, kAdaRoundSide = 32;

/// Options of the conversion that this command has too, meaning the same.
constexpr std::string_view kShared[] = {"--exclude-layers",
                                        "--client",
                                        "--quantize-conv",
                                        "--quantize-embeddings",
                                        "--calibration-data",
                                        "--allow-random-calibration",
                                        "--manual_seed",
                                        "--report-quality",
                                        "--quality-threshold",
                                        "--quality-threshold-fail",
                                        "--quality-json",
                                        "--dry-run",
                                        "--json",
                                        "--strict",
                                        "--no-clobber",
                                        "--allow-empty",
                                        "--requantize",
                                        "--max-shard-size",
                                        "--device",
                                        "--threads",
                                        "--low-memory",
                                        "--progress",
                                        "--resume",
                                        "--partition",
                                        "--names"};

struct Asked {
  ConversionOptions conversion;
  Setting<bool> t5xxl{"t5xxl"};
  Setting<bool> keep_distillation{"keep_distillation"};
  Setting<int64_t> min_tensor_size{"min_tensor_size"};
  Setting<std::optional<const Optimizer*>> method{"method"};
  Setting<int64_t> num_iter{"num_iter"};
  Setting<int64_t> top_k{"top_k", 1};
  Setting<int64_t> calib_samples{"calib_samples"};
  Setting<double> lr{"lr", 0.03};
  Setting<AdaRoundSolver> solver{"optimizer", AdaRoundSolver::kAdamW};
  Setting<double> reg_lambda{"reg_lambda", 0.015};
  Setting<double> beta_start{"beta_start", 20};
  Setting<double> beta_end{"beta_end", 2};
  Setting<double> least_gain{"early_stop_threshold", 5e-6};
  Setting<int64_t> batch_size{"batch_size"};
  Setting<bool> use_amp{"use_amp", true};
  Setting<bool> parallel{"parallel", true};
  Setting<std::string> scale_format{"scale_format"};
  Setting<bool> shared_scales{"use_shared_scales"};
  Setting<bool> legacy{"legacy", true};
  Setting<bool> verbose{"verbose"};

  using Settings = std::vector<const engine::AnySetting*>;
  /// What AdaRound alone reads.
  Settings of_adaround() const {
    return {&lr, &solver, &reg_lambda, &beta_start, &beta_end, &batch_size, &use_amp, &least_gain};
  }
  /// Given without a method, one of these chooses AdaRound.
  Settings of_its_program() const {
    return {&lr,         &solver,  &reg_lambda,      &beta_start, &beta_end,
            &batch_size, &use_amp, &min_tensor_size, &least_gain, &shared_scales};
  }
};

Table make_table(Asked& asked) {
  Table table{
      .options = {},
      .words = "input",
      .usage =
          "usage: convert_to_quant fp8 MODEL [-o OUT] [--method METHOD] [options]\n\n"
          "Scaled FP8 E4M3 with learned rounding, under the names and defaults of two older programs.\n"};
  const Table conversion = make_conversion_table(asked.conversion);
  add(table.options, Page::kStandard, "Files",
      {
          path(asked.conversion.settings.input.path, "--input",
               "The model, a file, an index of shards or a folder; also without --input")
              .alias("-i"),
          path(asked.conversion.settings.output.path, "--output", "File to write")
              .alias("-o")
              .otherwise("named after the method"),
      });
  add(table.options, Page::kStandard, "What is quantized",
      {
          toggle(asked.t5xxl, "--t5xxl",
                 "Text encoder: keep norm, bias, embed_tokens and shared, write input scales; tpec also "
                 "leaves decoder and lm_head out"),
          toggle(asked.keep_distillation, "--keep_distillation",
                 "Keep distilled_guidance_layer, final_layer, img_in and txt_in"),
          integer(asked.min_tensor_size, "--min_tensor_size", "Keep weights with fewer elements")
              .at_least(0)
              .otherwise("adaround 1024, and no side below 32; else 0; given, it decides alone"),
      });
  add(table.options, Page::kStandard, "How codes are chosen",
      {
          choice(asked.method, "--method",
                 "tpec: line searches along leading directions; adaround: gradients; rtn: nearest; or "
                 "any other optimizer of the conversion")
              .otherwise("tpec; adaround where an option of its own is given"),
          integer(asked.num_iter, "--num_iter", "Most iterations per weight")
              .at_least(0)
              .otherwise("tpec 500, adaround 200"),
          integer(asked.top_k, "--top_k", "tpec: principal directions").at_least(1),
          integer(asked.calib_samples, "--calib_samples",
                  "adaround without --calibration-data: rows of random input")
              .at_least(1)
              .otherwise("96"),
          number(asked.lr, "--lr", "adaround: learning rate").above(0),
          choice(asked.solver, "--optimizer", "adaround: how a gradient becomes a step"),
          number(asked.reg_lambda, "--reg_lambda", "adaround: weight of what presses decisions to 0 and 1")
              .at_least(0),
          number(asked.beta_start, "--beta_start", "adaround: exponent of that at the start").at_least(1),
          number(asked.beta_end, "--beta_end", "adaround: and at the end").at_least(1),
          number(asked.least_gain, "--early_stop_threshold",
                 "adaround: 50 iterations that gain a smaller share of the loss end it")
              .at_least(0),
          integer(asked.batch_size, "--batch_size", "adaround: rows of random input in memory at a time")
              .at_least(1)
              .otherwise("all"),
          toggle(asked.use_amp, "--use_amp", "adaround on a GPU: products in bfloat16"),
          toggle(asked.parallel, "--parallel", "Use all cores; off: one"),
      });
  add(table.options, Page::kStandard, "How it is stored",
      {
          choice(asked.scale_format, "--scale_format",
                 "u8log: one byte per scale, which no known loader reads; f32")
              .choose({"f32", "u8log"})
              .otherwise("adaround u8log, else f32"),
          toggle(asked.shared_scales, "--use_shared_scales",
                 "One scale for all weights of a module; with adaround on unless it is said to be off"),
          toggle(asked.legacy, "--legacy",
                 "scale_weight, scale_input and scaled_fp8; off: markers, as stock ComfyUI has them now")
              .shortcut("--comfy_quant", "false"),
      });
  for (const std::string_view name : kShared) {
    Option& option = table.options.emplace_back(*std::ranges::find(conversion.options, name, &Option::name));
    option.page = Page::kStandard;
    option.group = "As in the conversion";
  }
  add(table.options, Page::kStandard, "As in the conversion",
      {toggle(asked.verbose, "--verbose", "Log more").alias("-v")});
  add_help(table.options);
  return table;
}

const Optimizer& method_of(const Asked& asked, std::vector<std::string>& notes) {
  if (*asked.method) return ***asked.method;
  const auto own = asked.of_its_program();
  const auto given = std::ranges::find_if(own, [](const engine::AnySetting* each) { return each->given(); });
  if (given == own.end()) return optimize::kTpec;
  notes.push_back(fmt::format("{} chooses {} adaround", **given, asked.method));
  return optimize::kAdaRound;
}

/// A setting of the engine from one of this command, which messages call it by.
template <typename T>
void set(engine::Setting<T>& setting, const engine::AnySetting& from, std::type_identity_t<T> value,
         std::string written) {
  setting.set(std::move(value), from.given() ? engine::By::kUser : engine::By::kDefault, std::move(written));
  setting.set_label(from.label());
}
template <typename T>
void set(engine::Setting<T>& setting, const engine::Setting<T>& from) {
  set(setting, from, *from, from.text());
}

void read_adaround(const Asked& asked, engine::Learning& learning) {
  learning.lr = *asked.lr;
  learning.lr.set_label(asked.lr.label());
  set(learning.reg_lambda, asked.reg_lambda);
  set(learning.beta_start, asked.beta_start);
  set(learning.beta_end, asked.beta_end);
  set(learning.least_gain, asked.least_gain);
  set(learning.solver, asked.solver);
  set(learning.half_products, asked.use_amp);
  set(learning.drawn_rows, asked.calib_samples,
      asked.calib_samples.given() ? *asked.calib_samples : kAdaRoundRows, asked.calib_samples.text());
  set(learning.drawn_at_once, asked.batch_size);
}

void read_rounding(const Asked& asked, const Optimizer& method, engine::Settings& settings) {
  settings.rounding.optimizer = &method;
  settings.rounding.optimizer.set_label(asked.method.label());
  settings.rounding.scales.set(optimize::Scales::kAbsmax, engine::By::kDefault);
  engine::Learning& learning = settings.learning;
  if (asked.num_iter.given()) set(learning.iterations, asked.num_iter);
  if (&method == &optimize::kAdaRound) read_adaround(asked, learning);
  if (&method == &optimize::kTpec) {
    set(learning.min_k, asked.top_k);
    set(learning.max_k, asked.top_k);
  }
}

void read_filters(const Asked& asked, const Optimizer& method, engine::Layers& layers) {
  const bool adaround = &method == &optimize::kAdaRound;
  std::vector<std::string> keep, remove;
  if (*asked.t5xxl) {
    keep = {"norm", "bias", "embed_tokens", "shared"};
    if (!adaround) remove = {"decoder", "lm_head"};
  }
  if (*asked.keep_distillation) {
    for (const char* name : {"distilled_guidance_layer", "final_layer", "img_in", "txt_in"})
      keep.emplace_back(name);
  }
  layers.keep_containing = keep;
  layers.remove_containing = remove;
  layers.min_elements = asked.min_tensor_size.given() ? *asked.min_tensor_size
                        : adaround                    ? kAdaRoundElements
                                                      : 0;
  layers.min_side = adaround && !asked.min_tensor_size.given() ? kAdaRoundSide : 0;
}

/// Scales, and what stands for the whole file.
void read_storage(const Asked& asked, const Optimizer& method, engine::Settings& settings) {
  const bool legacy = *asked.legacy, t5xxl = *asked.t5xxl, adaround = &method == &optimize::kAdaRound;
  const bool one_byte = asked.scale_format->empty() ? adaround && legacy : *asked.scale_format == "u8log";
  if (one_byte && !legacy)
    engine::refuse(asked.scale_format, "one-byte scales have no form beside markers; use f32");
  engine::Target& target = settings.target;
  target.type = "fp8";
  target.scaling = "tensor";
  settings.output.comfy_layout = !legacy;
  target.logarithmic_scales.set(one_byte, engine::By::kDefault);
  target.logarithmic_scales.set_label("--scale_format u8log");
  target.shared_scales = asked.shared_scales.given() ? *asked.shared_scales : adaround;
  if (!legacy) return;
  target.copied_input_scales = t5xxl;
  if (t5xxl) {
    target.scaled_fp8_elements = 0;
  } else if (&method == &optimize::kTpec) {
    target.scaled_fp8_elements = 2;
  } else if (adaround) {
    target.scaled_fp8_elements = 1;
  }
}

void note_random_inputs(const Asked& asked, std::vector<std::string>& notes) {
  const engine::AnySetting& data = asked.conversion.settings.calibration.data;
  if (!data.given()) {
    notes.push_back(fmt::format(
        "adaround learns from random inputs, which lower no real error; {} gives it real ones", data));
    return;
  }
  for (const engine::AnySetting* setting : Asked::Settings{&asked.calib_samples, &asked.batch_size}) {
    if (setting->given())
      notes.push_back(
          fmt::format("{} has no effect with {}, but for layers it does not have", *setting, data));
  }
}

void note_unused(const Asked& asked, const Optimizer& method, std::vector<std::string>& notes) {
  const auto note = [&](const engine::AnySetting& setting, std::string_view why) {
    if (setting.given()) notes.push_back(fmt::format("{} has no effect {}", setting, why));
  };
  if (&method != &optimize::kTpec) note(asked.top_k, fmt::format("without {} tpec", asked.method));
  if (&method == &optimize::kAdaRound) return note_random_inputs(asked, notes);
  const std::string without = fmt::format("without {} adaround", asked.method);
  for (const engine::AnySetting* setting : asked.of_adaround()) note(*setting, without);
  note(asked.calib_samples, without + ": biases are corrected with recorded inputs only");
}

/// The name that the older programs give.
std::string fp8_output(const Asked& asked, const engine::Settings& settings, const Optimizer& method) {
  std::string name = engine::input_stem(settings.input.path->string()) + "_float8_e4m3fn_scaled";
  const bool tpec = &method == &optimize::kTpec;
  name += &method == &optimize::kAdaRound ? "_ultra" : tpec ? "_learned" : fmt::format("_{}", method.name);
  if (*asked.keep_distillation) name += "_nodistill";
  if (tpec) name += "_svd";
  if (*settings.target.logarithmic_scales) name += *settings.target.shared_scales ? "_8bit_shared" : "_8bit";
  return name + ".safetensors";
}

engine::Job job_of(Asked& asked) {
  std::vector<std::string> notes;
  const Optimizer& method = method_of(asked, notes);
  engine::Settings& settings = asked.conversion.settings;
  if (!*asked.parallel && settings.compute.threads.given())
    engine::refuse_to_have(asked.parallel, fmt::format("is off; it does not go with {} {}",
                                                       settings.compute.threads, *settings.compute.threads));
  if (!*asked.parallel) settings.compute.threads = 1;
  read_rounding(asked, method, settings);
  read_filters(asked, method, settings.layers);
  read_storage(asked, method, settings);
  required(settings.input.path);
  if (!settings.output.path.given() && *settings.report.dry_run != engine::DryRun::kTemplate)
    settings.output.path.set(fp8_output(asked, settings, method), engine::By::kDefault);
  engine::Job job = engine::prepare(settings);
  job.notes.insert(job.notes.begin(), notes.begin(), notes.end());
  note_unused(asked, method, job.notes);
  return job;
}

}  // namespace

const Table& fp8_table() { return shown_table(make_table); }

engine::Job make_fp8_job(const std::vector<std::string>& args) {
  Asked asked;
  return job_of(parse_into(asked, args, make_table));
}

int run_fp8(const std::vector<std::string>& args) {
  Asked asked;
  engine::Job job = job_of(parse_into(asked, args, make_table));
  return run_conversion(std::move(job),
                        {.least = *asked.verbose ? engine::LogLevel::kDetail : engine::LogLevel::kNote,
                         .progress = progress_mode(*asked.conversion.own.progress)});
}

}  // namespace ctq::cli
