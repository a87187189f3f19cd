// The pages of learned rounding (-hl) and of its advanced options (-ha).
#include "cli/options/rows.h"

namespace ctq::cli {

void add_learned_options(std::vector<Option>& table) {
  add(table, Page::kAdvanced, "Learning rate by shape",
      {
          number("--lr-shape-influence",
                 "plateau: how strongly a long shape sharpens --lr_factor, 0 none to 1 full")
              .at_least(0)
              .at_most(1)
              .standard("1.0")
              .built(),
          choice("--lr-threshold-mode", "Whether --lr_threshold is relative to the best loss or absolute")
              .choose({"rel", "abs"})
              .standard("rel")
              .built(),
      });
  add(table, Page::kAdvanced, "Early stopping",
      {
          number("--early-stop-loss", "Stop when the loss is at or below this")
              .alias("-esloss")
              .at_least(0)
              .standard("1e-8")
              .built(),
          number("--early-stop-lr", "Stop when the learning rate is at or below this")
              .alias("-eslr")
              .at_least(0)
              .standard("1e-10")
              .built(),
          integer("--early-stop-stall", "Stop after more than this many iterations without a gain")
              .alias("-esstall")
              .at_least(1)
              .standard("1000")
              .built(),
      });
  add(table, Page::kLearned, "Optimizer",
      {
          integer("--num_iter", "Most iterations per tensor; 0 rounds to nearest")
              .at_least(0)
              .standard("1000")
              .built(),
          number("--lr", "Learning rate to start with, in codes per step")
              .above(0)
              .otherwise("0.0080773; prodigy 1")
              .built(),
          toggle("--use_speed", "prodigy: estimate the distance the fast way").built(),
          choice("--objective", "direct: what it minimises")
              .choose({"subspace", "mixed"})
              .standard("mixed")
              .built(),
          number("--direct-damping", "direct: share of identity in the Hessian")
              .at_least(0)
              .standard("4")
              .built(),
          integer("--sweeps", "Coordinate-descent sweeps after auto, gptq, implied and direct")
              .at_least(0)
              .otherwise("2 with --optimizer auto or calibration data where inputs are known, 4 with "
                         "--quality best, else 0")
              .built(),
          choice("--scales",
                 "What becomes of scales: the largest magnitude, the best of several, refitted to the codes")
              .choose({"absmax", "search", "refit"})
              .otherwise("absmax; with --quality best refit, but absmax for INT8 rows")
              .built(),
      });
  add(table, Page::kLearned, "Singular directions",
      {
          toggle("--full_matrix", "Full SVD instead of the randomized one").built(),
          number("--top_p", "Share of the singular directions to use")
              .above(0)
              .at_most(1)
              .standard("0.2")
              .built(),
          integer("--min_k", "Fewest singular directions").at_least(1).standard("64").built(),
          integer("--max_k", "Most singular directions").at_least(1).standard("1024").built(),
      });
  add(table, Page::kLearned, "Learning-rate schedule",
      {
          choice("--lr_schedule", "How the learning rate changes")
              .choose({"adaptive", "adaptive-cosine", "exponential", "plateau"})
              .standard("adaptive")
              .built(),
          number("--lr_gamma", "exponential: factor per step").above(0).at_most(1).standard("0.99").built(),
          integer("--lr_patience", "plateau: steps without a gain before a reduction")
              .at_least(0)
              .standard("9")
              .built(),
          number("--lr_factor", "plateau: factor of a reduction").above(0).below(1).standard("0.92").built(),
          number("--lr_min", "exponential, plateau: floor of the learning rate")
              .at_least(0)
              .standard("1e-10")
              .built(),
          integer("--lr_cooldown", "plateau: steps after a reduction that count for nothing")
              .at_least(0)
              .standard("6")
              .built(),
          number("--lr_threshold", "Smallest gain that counts; 0 takes any")
              .at_least(0)
              .standard("0.0")
              .built(),
          choice("--lr_adaptive_mode",
                 "adaptive: whether the stall counter is cleared before the boost is chosen")
              .choose({"simple-reset", "no-reset"})
              .standard("simple-reset")
              .built(),
      });
}

}  // namespace ctq::cli
