#include <random>
#include <string_view>

#include "base/error.h"
#include "engine/parts.h"
#include "engine/rounding_notes.h"
#include "linalg/device.h"

namespace ctq::engine {
namespace {

using optimize::DirectObjective;
using optimize::Optimizer;
using optimize::Scales;

constexpr int64_t kAutoSweeps = 2;
constexpr int64_t kBestSweeps = 4;
constexpr int64_t kTpecIterations = 500;

bool is_best(const Rounding& rounding) { return *rounding.quality == Quality::kBest; }

/// What optimizer, quality and simple say together.
const Optimizer* chosen_optimizer(const Rounding& rounding) {
  if (!*rounding.quality) return *rounding.optimizer;
  const bool recipe_gives_way = rounding.quality.by_user() && !rounding.optimizer.by_user();
  if (rounding.optimizer.given() && !recipe_gives_way)
    refuse(rounding.quality, fmt::format("chooses the optimizer; it does not go with {} {}",
                                         rounding.optimizer, rounding.optimizer.text()));
  const bool fast = *rounding.quality == Quality::kFast;
  if (*rounding.simple && !fast)
    refuse(rounding.quality, fmt::format("does not go with {}", rounding.simple));
  return fast ? &optimize::kNearest : &optimize::kAuto;
}

Scales scales_of(const Rounding& rounding) {
  return rounding.scales->value_or(is_best(rounding) ? Scales::kByFormat : Scales::kUsual);
}

int64_t sweeps_of(const Settings& settings, const Optimizer& optimizer) {
  const Rounding& rounding = settings.rounding;
  if (rounding.sweeps.given()) return *rounding.sweeps;
  if (is_best(rounding)) return kBestSweeps;
  if (optimizer.by_gradients) return 0;
  return &optimizer == &optimize::kAuto || settings.calibration.data.given() ? kAutoSweeps : 0;
}

uint64_t seed_of(const Rounding& rounding, Remarks remarks) {
  if (*rounding.seed >= 0) return static_cast<uint64_t>(*rounding.seed);
  const uint64_t picked = std::random_device{}();
  remarks.notes.push_back(
      fmt::format("seed {} was picked; {} {} gives the same file again", picked, rounding.seed, picked));
  return picked;
}

optimize::SubspaceSettings subspace_of(const Learning& learning) {
  if (*learning.min_k > *learning.max_k)
    refuse(learning.min_k, fmt::format("is above {} {}", learning.max_k, *learning.max_k));
  return {.top_p = *learning.top_p,
          .min_k = *learning.min_k,
          .max_k = *learning.max_k,
          .full_svd = *learning.full_svd};
}

optimize::ScheduleSettings schedule_of(const Learning& learning) {
  if (*learning.threshold_mode == optimize::ThresholdMode::kRelative && *learning.threshold >= 1)
    refuse(learning.threshold, fmt::format("must be below 1 with {} rel", learning.threshold_mode));
  optimize::ScheduleSettings schedule;
  schedule.kind = *learning.schedule;
  schedule.gamma = *learning.gamma;
  schedule.patience = *learning.patience;
  schedule.factor = *learning.factor;
  schedule.lowest = *learning.lowest;
  schedule.cooldown = *learning.cooldown;
  schedule.threshold = *learning.threshold;
  schedule.threshold_mode = *learning.threshold_mode;
  schedule.stall_reset = *learning.stall_reset;
  schedule.shape_influence = *learning.shape_influence;
  return schedule;
}

optimize::LearnedSettings learned_of(const Learning& learning) {
  optimize::LearnedSettings learned;
  learned.iterations = *learning.iterations;
  learned.lr = *learning.lr;
  learned.schedule = schedule_of(learning);
  learned.stop = {.loss = *learning.stop_loss, .lr = *learning.stop_lr, .stall = *learning.stop_stall};
  learned.subspace = subspace_of(learning);
  learned.use_speed = *learning.use_speed;
  if (learning.lr.given() && learning.lowest.given() && *learning.lowest > **learning.lr)
    refuse(learning.lowest, fmt::format("is above {} {}", learning.lr, **learning.lr));
  return learned;
}

optimize::AdaRoundSettings adaround_of(const Learning& learning, bool gpu) {
  if (*learning.beta_start < *learning.beta_end)
    refuse(learning.beta_start, fmt::format("is below {} {}", learning.beta_end, learning.beta_end.text()));
  optimize::AdaRoundSettings adaround{.reg_lambda = *learning.reg_lambda,
                                      .beta_start = *learning.beta_start,
                                      .beta_end = *learning.beta_end,
                                      .least_gain = *learning.least_gain,
                                      .solver = *learning.solver,
                                      .half_products = *learning.half_products && gpu};
  if (learning.iterations.given()) adaround.iterations = *learning.iterations;
  if (learning.lr.given()) adaround.lr = **learning.lr;
  return adaround;
}

pipeline::BiasCorrection bias_correction_of(const Calibration& calibration, Remarks remarks) {
  const BiasWord word = *calibration.bias_correction;
  if (calibration.data.given() && (word == BiasWord::kOn || word == BiasWord::kAuto))
    return pipeline::BiasCorrection::kRecorded;
  if (word == BiasWord::kOn) {
    remarks.notes.push_back(
        fmt::format("{} on without {} is norm: only biases of layers right behind a norm change, by the mean "
                    "input that its "
                    "bias implies; of others no mean is known",
                    calibration.bias_correction, calibration.data));
  }
  return word == BiasWord::kNorm || word == BiasWord::kOn ? pipeline::BiasCorrection::kNorm
                                                          : pipeline::BiasCorrection::kNone;
}

std::optional<double> time_budget_of(const Settings& settings, const InUse& in_use,
                                     const plan::Target& target, Remarks remarks) {
  const Setting<std::optional<double>>& seconds = settings.rounding.seconds;
  if (!*seconds) return std::nullopt;
  if (settings.output.partition.given())
    refuse(seconds, fmt::format("does not go with {}: the layers with the largest error are found among all",
                                settings.output.partition));
  for (const AnySetting* setting :
       std::initializer_list<const AnySetting*>{&settings.goal.max_error, &settings.goal.target_bytes}) {
    if (setting->given())
      refuse(seconds, fmt::format("does not go with {}, which runs the optimizers to measure", *setting));
  }
  std::string idle;
  if (settings.report.dry_run.given()) {
    idle = fmt::format("with {}", settings.report.dry_run);
  } else if (!settings.loras.merged_only->empty()) {
    idle = fmt::format("with {}", settings.loras.merged_only);
  } else if (in_use.only_nearest()) {
    idle = "when rounding to nearest";
  } else if (!target.codec && !has_other_targets(settings)) {
    idle = "where the target is float16, which has no optimizer";
  }
  if (idle.empty()) return *seconds;
  remarks.notes.push_back(fmt::format("{} has no effect {}", seconds, idle));
  return std::nullopt;
}

/// The optimizer, and with `simple` that of the target alone: custom layers and the fallback do not inherit
/// it.
const Optimizer* read_optimizer(const Settings& settings, plan::Options& plan, Remarks remarks) {
  const Rounding& rounding = settings.rounding;
  const Optimizer* optimizer = chosen_optimizer(rounding);
  if (*rounding.simple) {
    plan.target.optimizer = &optimize::kNearest;
    if (!plan.custom && !plan.fallback) {
      if (rounding.optimizer.given() && optimizer != &optimize::kNearest)
        remarks.notes.push_back(fmt::format("{} {} has no effect with {}", rounding.optimizer,
                                            rounding.optimizer.text(), rounding.simple));
      optimizer = &optimize::kNearest;
    }
  }
  if (!optimizer->learner || *settings.learning.iterations > 0) return optimizer;
  remarks.notes.push_back(fmt::format("{} 0 rounds to nearest", settings.learning.iterations));
  return &optimize::kNearest;
}

/// What the user should know of a choice that is built, but not as it may be expected.
void remark_on_choice(const Settings& settings, const InUse& in_use, at::Device device, Remarks remarks) {
  const Rounding& rounding = settings.rounding;
  const AnySetting& data = settings.calibration.data;
  const bool gptq = in_use.has(optimize::kGptq);
  if (*rounding.gptq_gpu_kernel && gptq && device.is_cpu())
    remarks.warnings.push_back(
        fmt::format("{}: the run is on the CPU; the blocked pass is used", rounding.gptq_gpu_kernel));
  if (!data.given() && (gptq || in_use.has(optimize::kQuip)))
    remarks.notes.push_back(
        fmt::format("{} {} without {} takes the second moments that the checkpoint implies",
                    rounding.optimizer, gptq ? "gptq" : "quip", data));
  if (in_use.has(optimize::kQuip) && !*rounding.quip_transformed)
    remarks.notes.push_back(
        fmt::format("{} quip without {} stores weights as they are: its rotation offers other codes, which a "
                    "row takes only "
                    "where they are better than those of gptq, seldom at 8 bits",
                    rounding.optimizer, rounding.quip_transformed));
  if (!data.given() && is_best(rounding))
    remarks.notes.push_back(fmt::format(
        "{} best without calibration data: real inputs lower the model's error two to three times further "
        "than any rounding without them",
        rounding.quality));
  if (settings.learning.half_products.given() && device.is_cpu())
    remarks.notes.push_back(fmt::format("{} has no effect on the CPU", settings.learning.half_products));
}

}  // namespace

void read_rounding(Job& job) {
  const Settings& asked = job.settings;
  const Rounding& rounding = asked.rounding;
  const Remarks remarks(job);
  optimize::Settings& settings = job.run.optimizer;
  if (!job.plan.target.codec && !has_other_targets(asked))
    refuse_rounding(asked, "chooses codes; the target is float16, which has none");
  settings.optimizer = read_optimizer(asked, job.plan, remarks);
  settings.learned = learned_of(asked.learning);
  if (settings.optimizer == &optimize::kTpec && !asked.learning.iterations.given())
    settings.learned.iterations = kTpecIterations;
  settings.adaround = adaround_of(asked.learning, linalg::is_gpu(job.run.device));
  settings.drawn_rows = *asked.learning.drawn_rows;
  settings.drawn_at_once = *asked.learning.drawn_at_once;
  settings.direct = {.objective = *rounding.objective,
                     .damping = *rounding.direct_damping,
                     .subspace = settings.learned.subspace};
  if (*rounding.damping) settings.recorded_lambda = **rounding.damping, settings.tries_damping = false;
  if (*rounding.gptq_actorder) settings.gptq_order = linalg::ColumnOrder::kActOrder;
  if (!*rounding.gptq_blocks && settings.optimizer == &optimize::kGptq)
    settings.recursion = linalg::Recursion::kColumns;
  if (!*rounding.quip_actorder) settings.quip_order = linalg::ColumnOrder::kNatural;
  settings.quip_hadamard = *rounding.quip_hadamard;
  if (*rounding.quip_segmented) {
    settings.segments = *rounding.quip_segments;
    settings.segments_from = *rounding.quip_segments_from;
  }
  settings.sweeps = sweeps_of(asked, *settings.optimizer);
  // Where nothing is known of the input, sweeps cost as much as elsewhere and gain nothing that shows.
  settings.direct_sweeps = rounding.sweeps.given() || is_best(rounding) ? settings.sweeps : 0;
  settings.scales = scales_of(rounding);
  const InUse in_use(*settings.optimizer, job.plan);
  note_unused_rounding(asked, in_use, remarks);
  if (!in_use.only_nearest())
    settings.seed = settings.direct.subspace.seed = settings.learned.subspace.seed =
        seed_of(rounding, remarks);
  settings.quip_seed =
      rounding.quip_seed.given() ? static_cast<uint64_t>(*rounding.quip_seed) : settings.seed;
  job.run.time_budget = time_budget_of(asked, in_use, job.plan.target, remarks);
  job.run.bias_correction = bias_correction_of(asked.calibration, remarks);
  job.run.shared_scales = *asked.target.shared_scales;
  remark_on_choice(asked, in_use, job.run.device, remarks);
}

}  // namespace ctq::engine
