#include "optimizer_settings.h"

#include <algorithm>
#include <random>
#include <set>
#include <string_view>

#include "cli/options/spelling.h"
#include "ctq/base/error.h"
#include "routing_settings.h"
#include "unused_options.h"

namespace ctq::cli {
namespace {

using optimize::DirectObjective;
using optimize::Optimizer;
using optimize::Scales;
using optimize::Schedule;

constexpr int64_t kAutoSweeps = 2;
constexpr int64_t kBestSweeps = 4;
constexpr int64_t kTpecIterations = 500;

[[noreturn]] void refuse(std::string_view option, std::string_view fact, std::string_view value) {
  fail(ErrorCode::kUsage, "argument --{}: {} (got '{}')", option, fact, value);
}

/// The optimizers that some layer may get.
class InUse {
 public:
  InUse(const Optimizer& run, const plan::Options& plan) {
    const auto add = [&](const std::optional<plan::Target>& target) {
      if (target) optimizers_.insert(target->optimizer ? target->optimizer : &run);
    };
    add(plan.target);
    if (plan.custom) add(plan.custom->target);
    add(plan.fallback);
    if (!plan.layer_config) return;
    for (const auto& entry : plan.layer_config->entries()) add(entry.rule.target);
    if (plan.layer_config->default_rule()) add(plan.layer_config->default_rule()->target);
  }
  bool has(const Optimizer& optimizer) const { return optimizers_.contains(&optimizer); }
  bool learned() const {
    return any([](const Optimizer& each) { return each.learner != nullptr; });
  }
  bool implied() const {
    return any([](const Optimizer& each) { return each.needs.implied; });
  }
  /// Takes a second moment in one pass.
  bool one_pass() const {
    return any([](const Optimizer& each) { return each.needs.moment && !each.by_gradients; });
  }
  bool gptq() const { return has(optimize::kGptq); }
  bool recorded() const {
    return any([](const Optimizer& each) { return each.needs.recorded; });
  }
  bool only_nearest() const {
    return !learned() && !any([](const Optimizer& each) { return each.needs.moment; });
  }
  /// Learned rounding that follows --lr_schedule.
  bool scheduled() const {
    return any([](const Optimizer& each) { return each.learner && each.learner->make_solver; });
  }

 private:
  template <typename Predicate>
  bool any(const Predicate& predicate) const {
    return std::ranges::any_of(optimizers_, [&](const Optimizer* each) { return predicate(*each); });
  }

  std::set<const Optimizer*> optimizers_;
};

/// What --optimizer, --quality and --simple say together.
const Optimizer* read_optimizer_word(const Arguments& arguments) {
  const std::string& quality = arguments.text("quality");
  const bool simple = arguments.flag("simple");
  if (!quality.empty()) {
    if (arguments.given("optimizer"))
      refuse("quality",
             "chooses the optimizer; it does not go with --optimizer " + arguments.text("optimizer"),
             quality);
    if (simple && quality != "fast") refuse("quality", "does not go with --simple", quality);
    return quality == "fast" ? &optimize::kNearest : &optimize::kAuto;
  }
  const Optimizer* optimizer = optimize::find_optimizer(arguments.text("optimizer"));
  return optimizer ? optimizer : &optimize::kAuto;
}

Scales read_scales(const Arguments& arguments) {
  const std::string& word = arguments.text("scales");
  if (word.empty()) return arguments.text("quality") == "best" ? Scales::kByFormat : Scales::kUsual;
  return word == "search" ? Scales::kSearch : word == "refit" ? Scales::kRefit : Scales::kAbsmax;
}

int64_t read_sweeps(const Arguments& arguments, const Optimizer& optimizer) {
  if (arguments.given("sweeps")) return arguments.integer("sweeps");
  if (arguments.text("quality") == "best") return kBestSweeps;
  if (optimizer.by_gradients) return 0;
  return &optimizer == &optimize::kAuto || arguments.given("calibration_data") ? kAutoSweeps : 0;
}

uint64_t read_seed(const Arguments& arguments, std::vector<std::string>& notes) {
  const int64_t given = arguments.integer("manual_seed");
  if (given >= 0) return static_cast<uint64_t>(given);
  const uint64_t picked = std::random_device{}();
  notes.push_back(
      fmt::format("seed {} was picked; --manual_seed {} gives the same file again", picked, picked));
  return picked;
}

optimize::SubspaceSettings read_subspace(const Arguments& arguments) {
  optimize::SubspaceSettings subspace;
  subspace.top_p = arguments.number("top_p");
  subspace.min_k = arguments.integer("min_k");
  subspace.max_k = arguments.integer("max_k");
  subspace.full_svd = arguments.flag("full_matrix");
  if (subspace.min_k > subspace.max_k) {
    refuse("min_k", fmt::format("is above --max_k {}", subspace.max_k), arguments.text("min_k"));
  }
  return subspace;
}

Schedule schedule_of(const std::string& word, bool peer) {
  if (word == "adaptive") return peer ? Schedule::kAdaptiveCosine : Schedule::kAdaptive;
  if (word == "adaptive-cosine") return Schedule::kAdaptiveCosine;
  return word == "exponential" ? Schedule::kExponential : Schedule::kPlateau;
}

optimize::ScheduleSettings read_schedule(const Arguments& arguments) {
  optimize::ScheduleSettings schedule;
  schedule.kind = schedule_of(arguments.text("lr_schedule"), arguments.text("profile") == "peer");
  schedule.gamma = arguments.number("lr_gamma");
  schedule.patience = arguments.integer("lr_patience");
  schedule.factor = arguments.number("lr_factor");
  schedule.lowest = arguments.number("lr_min");
  schedule.cooldown = arguments.integer("lr_cooldown");
  schedule.threshold = arguments.number("lr_threshold");
  schedule.threshold_mode = arguments.text("lr_threshold_mode") == "abs" ? optimize::ThresholdMode::kAbsolute
                                                                         : optimize::ThresholdMode::kRelative;
  schedule.stall_reset = arguments.text("lr_adaptive_mode") == "no-reset" ? optimize::StallReset::kLate
                                                                          : optimize::StallReset::kSimple;
  schedule.shape_influence = arguments.number("lr_shape_influence");
  if (schedule.threshold_mode == optimize::ThresholdMode::kRelative && schedule.threshold >= 1)
    refuse("lr_threshold", "must be below 1 with --lr-threshold-mode rel", arguments.text("lr_threshold"));
  return schedule;
}

optimize::LearnedSettings read_learned(const Arguments& arguments) {
  optimize::LearnedSettings learned;
  learned.iterations = arguments.integer("num_iter");
  if (!arguments.text("lr").empty()) learned.lr = arguments.number("lr");
  learned.schedule = read_schedule(arguments);
  learned.stop = {.loss = arguments.number("early_stop_loss"),
                  .lr = arguments.number("early_stop_lr"),
                  .stall = arguments.integer("early_stop_stall")};
  learned.subspace = read_subspace(arguments);
  learned.use_speed = arguments.flag("use_speed");
  if (arguments.given("lr") && arguments.given("lr_min") && learned.schedule.lowest > *learned.lr)
    refuse("lr_min", fmt::format("is above --lr {}", *learned.lr), arguments.text("lr_min"));
  return learned;
}

void note_unused_schedule(Unused& unused, Schedule kind) {
  const bool plateau = kind == Schedule::kPlateau, cosine = kind == Schedule::kAdaptiveCosine;
  const bool exponential = kind == Schedule::kExponential;
  constexpr std::string_view kWhy = "with this --lr_schedule";
  if (!exponential) unused.note({"lr_gamma"}, kWhy);
  if (!plateau) unused.note({"lr_patience", "lr_shape_influence"}, kWhy);
  if (!plateau && !cosine) unused.note({"lr_factor", "lr_cooldown"}, kWhy);
  if (!plateau && !exponential) unused.note({"lr_min"}, kWhy);
  if (kind != Schedule::kAdaptive) unused.note({"lr_adaptive_mode"}, kWhy);
}

/// Whether recorded means are used, whatever the optimizer.
bool reads_means(const Arguments& arguments) { return arguments.text("bias_correction") != "off"; }

void note_unused(const Arguments& arguments, const InUse& in_use, const optimize::Settings& settings,
                 std::vector<std::string>& notes) {
  Unused unused(arguments, notes);
  const bool subspace = settings.direct.objective == DirectObjective::kSubspace;
  if (in_use.only_nearest())
    unused.note({"objective", "direct_damping", "sweeps", "manual_seed", "top_p", "min_k", "max_k",
                 "full_matrix", "num_iter", "lr", "use_speed", "lr_schedule", "early_stop_loss",
                 "early_stop_lr", "early_stop_stall", "lr_threshold", "lr_threshold_mode"},
                "when rounding to nearest");
  if (!in_use.learned() && !in_use.has(optimize::kAdaRound))
    unused.note({"num_iter", "lr"}, "without an optimizer that learns (see --optimizer)");
  if (!in_use.scheduled()) {
    unused.note({"use_speed", "lr_schedule", "lr_gamma", "lr_patience", "lr_factor", "lr_min", "lr_cooldown",
                 "lr_threshold", "lr_threshold_mode", "lr_adaptive_mode", "lr_shape_influence",
                 "early_stop_loss", "early_stop_lr", "early_stop_stall"},
                "without learned rounding (--optimizer original, adamw, radam or prodigy)");
    if (in_use.has(optimize::kTpec)) unused.note({"lr"}, "with --optimizer tpec, which searches it");
    if (!subspace && !in_use.learned())
      unused.note({"top_p", "min_k", "max_k", "full_matrix"}, "without --objective subspace");
  } else {
    note_unused_schedule(unused, settings.learned.schedule.kind);
    if (!in_use.has(optimize::kProdigy)) unused.note({"use_speed"}, "without --optimizer prodigy");
    if (settings.learned.schedule.threshold == 0)
      unused.note({"lr_threshold_mode"}, "without --lr_threshold");
  }
  if (!in_use.one_pass()) {
    unused.note({"objective", "direct_damping", "sweeps"},
                "without --optimizer auto, gptq, quip, implied or direct");
    if (!in_use.has(optimize::kNearest)) unused.note({"scales"}, "with learned rounding");
  }
  if (subspace) unused.note({"direct_damping"}, "with --objective subspace");
  if (!in_use.has(optimize::kQuip))
    unused.note({"quip_actorder", "quip_hadamard", "quip_seed", "quip_store_transformed",
                 "quip_requant_scheme", "quip_requant_tensor_per_row", "quip_checkpointed",
                 "quip_checkpoint_threshold", "quip_checkpoint_segments"},
                "without --optimizer quip");
  else if (arguments.flag("quip_store_transformed"))
    unused.note({"quip_requant_scheme", "quip_requant_tensor_per_row"}, "with --quip-store-transformed");
  if (in_use.has(optimize::kQuip) && !arguments.flag("quip_checkpointed"))
    unused.note({"quip_checkpoint_threshold", "quip_checkpoint_segments"}, "without --quip-checkpointed");
  if (!in_use.gptq()) unused.note({"gptq_actorder", "gptq_fast", "gptq_turbo"}, "without --optimizer gptq");
  if (!in_use.one_pass()) unused.note({"calibration_lora"}, "without an optimizer that rounds in one pass");
  if (!in_use.recorded() && !reads_means(arguments))
    unused.note({"calibration_data"}, "without --optimizer auto, gptq or quip");
  if (!in_use.learned() && !in_use.implied() && (!subspace || settings.direct.subspace.full_svd))
    unused.note({"manual_seed"}, "here: nothing random is used");
}

pipeline::BiasCorrection read_bias_correction(const Arguments& arguments, std::vector<std::string>& notes) {
  const std::string& word = arguments.text("bias_correction");
  const bool recorded = arguments.given("calibration_data");
  if (recorded && (word == "on" || word == "auto")) return pipeline::BiasCorrection::kRecorded;
  if (word == "on") {
    notes.emplace_back(
        "--bias-correction on changes no bias: without calibration data the mean input is taken as zero; "
        "--bias-correction norm uses the mean that a norm's bias implies");
  }
  return word == "norm" ? pipeline::BiasCorrection::kNorm : pipeline::BiasCorrection::kNone;
}

/// --time.
std::optional<double> read_time_budget(const Arguments& arguments, const InUse& in_use,
                                       const plan::Target& target, std::vector<std::string>& notes) {
  const std::string& value = arguments.text("time");
  if (value.empty()) return std::nullopt;
  if (arguments.given("partition"))
    refuse("time", "does not go with --partition: the layers with the largest error are found among all",
           value);
  for (const std::string_view option : {"max-error", "target-size"}) {
    if (arguments.given(option_key(fmt::format("--{}", option))))
      refuse("time", fmt::format("does not go with --{}, which runs the optimizers to measure", option),
             value);
  }
  const std::string_view idle = arguments.given("dry_run")                ? "with --dry-run"
                                : !arguments.text("lora_only_to").empty() ? "with --lora-only-to"
                                : in_use.only_nearest()                   ? "when rounding to nearest"
                                : !target.codec && !has_other_targets(arguments)
                                    ? "with --fp16, which has no optimizer"
                                    : "";
  if (idle.empty()) return arguments.seconds("time");
  notes.push_back(fmt::format("--time has no effect {}", idle));
  return std::nullopt;
}

}  // namespace

void read_optimizer(const Arguments& arguments, plan::Options& plan, pipeline::RunOptions& run,
                    std::vector<std::string>& notes, std::vector<std::string>& warnings) {
  optimize::Settings& settings = run.optimizer;
  settings.optimizer = read_optimizer_word(arguments);
  const bool named = arguments.given("optimizer") && settings.optimizer != &optimize::kNearest;
  if (arguments.flag("simple")) {
    // Custom layers and the fallback do not inherit it.
    plan.target.optimizer = &optimize::kNearest;
    if (!plan.custom && !plan.fallback) {
      if (named)
        notes.push_back(
            fmt::format("--optimizer {} has no effect with --simple", arguments.text("optimizer")));
      settings.optimizer = &optimize::kNearest;
    }
  }
  settings.learned = read_learned(arguments);
  if (settings.optimizer->learner && settings.learned.iterations == 0) {
    notes.emplace_back("--num_iter 0 rounds to nearest");
    settings.optimizer = &optimize::kNearest;
  }
  if (settings.optimizer == &optimize::kTpec && !arguments.given("num_iter"))
    settings.learned.iterations = kTpecIterations;
  if (arguments.given("num_iter")) settings.adaround.iterations = arguments.integer("num_iter");
  if (arguments.given("lr")) settings.adaround.lr = arguments.number("lr");
  settings.direct.damping = arguments.number("direct_damping");
  settings.direct.objective =
      arguments.text("objective") == "subspace" ? DirectObjective::kSubspace : DirectObjective::kMixed;
  settings.direct.subspace = settings.learned.subspace;
  if (arguments.flag("gptq_actorder")) settings.gptq_order = linalg::ColumnOrder::kActOrder;
  if (!arguments.flag("gptq_fast") && settings.optimizer == &optimize::kGptq)
    settings.recursion = linalg::Recursion::kColumns;
  if (!arguments.flag("quip_actorder")) settings.quip_order = linalg::ColumnOrder::kNatural;
  settings.quip_hadamard = arguments.flag("quip_hadamard");
  if (arguments.flag("quip_checkpointed")) {
    settings.segments = arguments.integer("quip_checkpoint_segments");
    settings.segments_from = arguments.integer("quip_checkpoint_threshold");
  }
  settings.sweeps = read_sweeps(arguments, *settings.optimizer);
  // Where nothing is known of the input, sweeps cost as much as elsewhere and gain nothing that shows.
  const bool asked = arguments.given("sweeps") || arguments.text("quality") == "best";
  settings.direct_sweeps = asked ? settings.sweeps : 0;
  settings.scales = read_scales(arguments);
  const InUse in_use(*settings.optimizer, plan);
  note_unused(arguments, in_use, settings, notes);
  if (!in_use.only_nearest())
    settings.seed = settings.direct.subspace.seed = settings.learned.subspace.seed =
        read_seed(arguments, notes);
  settings.quip_seed =
      arguments.given("quip_seed") ? static_cast<uint64_t>(arguments.integer("quip_seed")) : settings.seed;
  if (arguments.flag("gptq_turbo") && in_use.gptq())
    warnings.push_back(fmt::format(
        "--gptq-turbo: {}; the blocked pass is used",
        run.device.is_cuda() ? "this version has no GPU kernel for a block" : "the run is on the CPU"));
  run.time_budget = read_time_budget(arguments, in_use, plan.target, notes);
  run.bias_correction = read_bias_correction(arguments, notes);
  const bool recorded = arguments.given("calibration_data");
  if (!recorded && (in_use.gptq() || in_use.has(optimize::kQuip))) {
    notes.push_back(fmt::format(
        "--optimizer {} without --calibration-data takes the second moments that the checkpoint implies",
        in_use.gptq() ? "gptq" : "quip"));
  }
  if (arguments.text("quality") == "best" && !recorded) {
    notes.emplace_back(
        "--quality best without calibration data: real inputs lower the model's error two to three times "
        "further than any rounding without them");
  }
}

}  // namespace ctq::cli
