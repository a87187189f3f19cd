// The pages of learned rounding (-hl) and of its advanced options (-ha).
#include "cli/conversion/conversion_options.h"
#include "cli/options/rows.h"

namespace ctq::cli {

void add_learned_options(std::vector<Option>& table, ConversionOptions& options) {
  auto& [settings, own] = options;
  add(table, Page::kAdvanced, "Learning rate by shape",
      {
          number(settings.learning.shape_influence, "--lr-shape-influence",
                 "plateau: how strongly a long shape sharpens --lr_factor, 0 none to 1 full")
              .at_least(0)
              .at_most(1),
          choice(settings.learning.threshold_mode, "--lr-threshold-mode",
                 "Whether --lr_threshold is relative to the best loss or absolute"),
      });
  add(table, Page::kAdvanced, "Early stopping",
      {
          number(settings.learning.stop_loss, "--early-stop-loss", "Stop when the loss is at or below this")
              .alias("-esloss")
              .at_least(0),
          number(settings.learning.stop_lr, "--early-stop-lr",
                 "Stop when the learning rate is at or below this")
              .alias("-eslr")
              .at_least(0),
          integer(settings.learning.stop_stall, "--early-stop-stall",
                  "Stop after more than this many iterations without a gain")
              .alias("-esstall")
              .at_least(1),
      });
  add(table, Page::kLearned, "Optimizer",
      {
          integer(settings.learning.iterations, "--num_iter",
                  "Most iterations per tensor; 0 rounds to nearest")
              .at_least(0),
          number(settings.learning.lr, "--lr", "Learning rate to start with, in codes per step")
              .above(0)
              .otherwise("0.0080773; prodigy 1"),
          toggle(settings.learning.use_speed, "--use_speed", "prodigy: estimate the distance the fast way"),
          choice(settings.rounding.objective, "--objective", "direct: what it minimises"),
          number(settings.rounding.direct_damping, "--direct-damping",
                 "direct: share of identity in the Hessian")
              .at_least(0),
          number(settings.rounding.damping, "--damping",
                 "With calibration data: share of the mean that is added to the Hessian's diagonal; auto: "
                 "0.03, and others where little was recorded, by inputs that are held back")
              .at_least(0)
              .or_auto(),
          integer(settings.rounding.sweeps, "--sweeps",
                  "Coordinate-descent sweeps after auto, gptq, implied and direct")
              .at_least(0)
              .otherwise("2 with --optimizer auto or calibration data where inputs are known, 4 with "
                         "--quality best, else 0"),
          choice(settings.rounding.scales, "--scales",
                 "What becomes of scales: the largest magnitude, the best of several, refitted to the codes")
              .otherwise("absmax, of 4-bit formats search; with --quality best refit, of INT8 rows absmax"),
          choice(own.scale_optimization, "--scale-optimization",
                 "An older word for --scales; all but fixed: refit")
              .choose({"fixed", "iterative", "joint", "dualround"})
              .hide(),
          integer(own.scale_refinement, "--scale-refinement", "Rounds of that").at_least(1).hide(),
          integer(settings.learning.drawn_rows, "--calib_samples",
                  "With --optimizer adaround: rows of random input, in place of what the checkpoint implies")
              .at_least(1)
              .otherwise("none"),
      });
  add(table, Page::kLearned, "Singular directions",
      {
          toggle(settings.learning.full_svd, "--full_matrix", "Full SVD instead of the randomized one"),
          number(settings.learning.top_p, "--top_p", "Share of the singular directions to use")
              .above(0)
              .at_most(1),
          integer(settings.learning.min_k, "--min_k", "Fewest singular directions").at_least(1),
          integer(settings.learning.max_k, "--max_k", "Most singular directions").at_least(1),
      });
  add(table, Page::kLearned, "Learning-rate schedule",
      {
          choice(settings.learning.schedule, "--lr_schedule", "How the learning rate changes"),
          number(settings.learning.gamma, "--lr_gamma", "exponential: factor per step").above(0).at_most(1),
          integer(settings.learning.patience, "--lr_patience",
                  "plateau: steps without a gain before a reduction")
              .at_least(0),
          number(settings.learning.factor, "--lr_factor", "plateau: factor of a reduction").above(0).below(1),
          number(settings.learning.lowest, "--lr_min", "exponential, plateau: floor of the learning rate")
              .at_least(0),
          integer(settings.learning.cooldown, "--lr_cooldown",
                  "plateau: steps after a reduction that count for nothing")
              .at_least(0),
          number(settings.learning.threshold, "--lr_threshold", "Smallest gain that counts; 0 takes any")
              .at_least(0)
              .standard("0"),
          choice(settings.learning.stall_reset, "--lr_adaptive_mode",
                 "adaptive: whether the stall counter is cleared before the boost is chosen"),
      });
}

}  // namespace ctq::cli
