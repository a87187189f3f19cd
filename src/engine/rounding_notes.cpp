#include "engine/rounding_notes.h"

#include "engine/unused.h"
#include "model/weight_shape.h"

namespace ctq::engine {
namespace {

using optimize::DirectObjective;
using optimize::Schedule;

void note_unused_schedule(Unused& unused, const Learning& learning) {
  const Schedule kind = *learning.schedule;
  const bool plateau = kind == Schedule::kPlateau, cosine = kind == Schedule::kAdaptiveCosine;
  const bool exponential = kind == Schedule::kExponential;
  const std::string why = fmt::format("with this {}", learning.schedule);
  if (!exponential) unused.note({&learning.gamma}, why);
  if (!plateau) unused.note({&learning.patience, &learning.shape_influence}, why);
  if (!plateau && !cosine) unused.note({&learning.factor, &learning.cooldown}, why);
  if (!plateau && !exponential) unused.note({&learning.lowest}, why);
  if (kind != Schedule::kAdaptive) unused.note({&learning.stall_reset}, why);
}

/// Settings of learned rounding where no layer, or not every kind of it, is learned.
void note_unused_learning(Unused& unused, const Settings& settings, const InUse& in_use) {
  const Learning& learning = settings.learning;
  const Rounding& rounding = settings.rounding;
  const bool subspace = *rounding.objective == DirectObjective::kSubspace;
  if (!in_use.learned() && !in_use.has(optimize::kAdaRound))
    unused.note({&learning.iterations, &learning.lr},
                fmt::format("without an optimizer that learns (see {})", rounding.optimizer));
  if (!in_use.has(optimize::kAdaRound))
    unused.note({&learning.drawn_rows},
                fmt::format("without {} adaround: nothing else draws rows", rounding.optimizer));
  if (in_use.scheduled()) {
    note_unused_schedule(unused, learning);
    if (!in_use.has(optimize::kProdigy))
      unused.note({&learning.use_speed}, fmt::format("without {} prodigy", rounding.optimizer));
    if (*learning.threshold == 0)
      unused.note({&learning.threshold_mode}, fmt::format("without {}", learning.threshold));
    return;
  }
  unused.note(
      {&learning.use_speed, &learning.schedule, &learning.gamma, &learning.patience, &learning.factor,
       &learning.lowest, &learning.cooldown, &learning.threshold, &learning.threshold_mode,
       &learning.stall_reset, &learning.shape_influence, &learning.stop_loss, &learning.stop_lr,
       &learning.stop_stall},
      fmt::format("without learned rounding ({} original, adamw, radam or prodigy)", rounding.optimizer));
  if (in_use.has(optimize::kTpec))
    unused.note({&learning.lr}, fmt::format("with {} tpec, which searches it", rounding.optimizer));
  if (!subspace && !in_use.learned())
    unused.note({&learning.top_p, &learning.min_k, &learning.max_k, &learning.full_svd},
                fmt::format("without {} subspace", rounding.objective));
}

void note_unused_quip(Unused& unused, const Settings& settings, const InUse& in_use) {
  const Rounding& rounding = settings.rounding;
  const Target& target = settings.target;
  if (!in_use.has(optimize::kQuip)) {
    unused.note({&rounding.quip_actorder, &rounding.quip_hadamard, &rounding.quip_seed,
                 &rounding.quip_transformed, &rounding.quip_scheme, &rounding.quip_per_row,
                 &rounding.quip_segmented, &rounding.quip_segments_from, &rounding.quip_segments},
                fmt::format("without {} quip", rounding.optimizer));
    return;
  }
  if (*rounding.optimizer != &optimize::kQuip)
    unused.note({&rounding.quip_transformed, &rounding.quip_scheme, &rounding.quip_per_row},
                fmt::format("without {} quip: an entry of {} names its format itself", rounding.optimizer,
                            settings.layers.config));
  if (*target.type != "int8" || !target.format->empty() || !target.scaling->empty())
    unused.note({&rounding.quip_scheme, &rounding.quip_per_row}, "but for INT8 without a scaling mode");
  if (*rounding.quip_scheme == "block")
    unused.note({&rounding.quip_per_row}, fmt::format("with {} block", rounding.quip_scheme));
  if (*rounding.quip_transformed)
    unused.note({&rounding.quip_scheme, &rounding.quip_per_row},
                fmt::format("with {}", rounding.quip_transformed));
  if (!*rounding.quip_segmented)
    unused.note({&rounding.quip_segments_from, &rounding.quip_segments},
                fmt::format("without {}", rounding.quip_segmented));
}

}  // namespace

void refuse_rounding(const Settings& settings, std::string_view why) {
  const std::set<const AnySetting*> harmless{&settings.rounding.simple, &settings.rounding.seconds,
                                             &settings.rounding.seed};
  for_each_of_rounding(settings, [&](const auto& setting) {
    if (setting.by_user() && !harmless.contains(&setting)) refuse(setting, why);
  });
}

void note_unused_rounding(const Settings& settings, const InUse& in_use, Remarks remarks) {
  Unused unused(remarks);
  const Rounding& rounding = settings.rounding;
  const Learning& learning = settings.learning;
  const Calibration& calibration = settings.calibration;
  const bool subspace = *rounding.objective == DirectObjective::kSubspace;
  if (in_use.only_nearest())
    unused.note({&rounding.objective, &rounding.direct_damping, &rounding.sweeps, &rounding.seed,
                 &learning.top_p, &learning.min_k, &learning.max_k, &learning.full_svd, &learning.iterations,
                 &learning.lr, &learning.use_speed, &learning.schedule, &learning.stop_loss,
                 &learning.stop_lr, &learning.stop_stall, &learning.threshold, &learning.threshold_mode},
                "when rounding to nearest");
  note_unused_learning(unused, settings, in_use);
  if (!in_use.one_pass()) {
    unused.note({&rounding.objective, &rounding.direct_damping, &rounding.sweeps},
                fmt::format("without {} auto, gptq, quip, implied or direct", rounding.optimizer));
    if (!in_use.has(optimize::kNearest)) unused.note({&rounding.scales}, "with learned rounding");
  }
  if (subspace) unused.note({&rounding.direct_damping}, fmt::format("with {} subspace", rounding.objective));
  note_unused_quip(unused, settings, in_use);
  if (!in_use.has(optimize::kGptq))
    unused.note({&rounding.gptq_actorder, &rounding.gptq_blocks, &rounding.gptq_gpu_kernel},
                fmt::format("without {} gptq", rounding.optimizer));
  if (!in_use.one_pass()) unused.note({&calibration.lora}, "without an optimizer that rounds in one pass");
  const bool reads_means = *calibration.bias_correction != BiasWord::kOff;
  const bool reads_ranges = *calibration.smoothquant || *calibration.static_activations;
  if (!calibration.data.given())
    unused.note({&calibration.allow_random}, fmt::format("without {}", calibration.data));
  if (!in_use.recorded() && !reads_means && !reads_ranges)
    unused.note({&calibration.data}, fmt::format("without {} auto, gptq or quip", rounding.optimizer));
  if (!in_use.recorded() || !calibration.data.given())
    unused.note({&rounding.damping},
                in_use.recorded()
                    ? fmt::format("without {}", calibration.data)
                    : fmt::format("without {} auto, gptq, quip or adaround", rounding.optimizer));
  if (in_use.implied() && !in_use.learned() && rounding.seed.by_user())
    remarks.notes.push_back(fmt::format(
        "{} steers only layers behind a gated MLP, of whose inputs numbers are drawn", rounding.seed));
  if (!in_use.learned() && !in_use.implied() && (!subspace || *learning.full_svd))
    unused.note({&rounding.seed}, "here: nothing random is used");
}

std::vector<std::string> notes_of_layers(const Settings& settings, const plan::Plan& plan,
                                         const optimize::Optimizer& run) {
  const Rounding& rounding = settings.rounding;
  if (!*rounding.quip_segmented) return {};
  bool any = false, wide = false;
  for (const plan::TensorPlan& tensor : plan.tensors) {
    const optimize::Optimizer* optimizer = tensor.target.optimizer ? tensor.target.optimizer : &run;
    if (tensor.decision != plan::Decision::kQuantize || optimizer != &optimize::kQuip) continue;
    any = true;
    wide |= model::weight_shape(*tensor.source).in_features >= *rounding.quip_segments_from;
  }
  if (!any || wide) return {};
  return {fmt::format("{} has no effect: no layer of quip has {} columns or more ({})",
                      rounding.quip_segmented, *rounding.quip_segments_from, rounding.quip_segments_from)};
}

}  // namespace ctq::engine
