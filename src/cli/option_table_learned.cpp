// The pages of learned rounding (-hl) and of its advanced options (-ha).
#include "cli/option_rows.h"

namespace ctq::cli {

void add_learned_options(std::vector<Option>& table) {
  add(table, Page::kAdvanced, "Learning rate by shape",
      {
          number("--lr-shape-influence",
                 "plateau: how strongly a long shape sharpens --lr_factor, 0 none to 1 full")
              .at_least(0)
              .at_most(1)
              .standard("1.0"),
          choice("--lr-threshold-mode", "Whether --lr_threshold is relative to the best loss or absolute")
              .choose({"rel", "abs"})
              .standard("rel"),
      });
  add(table, Page::kAdvanced, "Early stopping",
      {
          number("--early-stop-loss", "Stop when the loss is at or below this")
              .alias("-esloss")
              .at_least(0)
              .standard("1e-8"),
          number("--early-stop-lr", "Stop when the learning rate is at or below this")
              .alias("-eslr")
              .at_least(0)
              .standard("1e-10"),
          integer("--early-stop-stall", "Stop after more than this many iterations without a gain")
              .alias("-esstall")
              .at_least(1)
              .standard("1000"),
      });
  add(table, Page::kLearned, "Optimizer",
      {
          integer("--num_iter", "Most iterations per tensor; 0 rounds to nearest")
              .at_least(0)
              .standard("1000"),
          number("--lr", "Learning rate to start with").above(0).standard("0.008077300000003"),
          toggle("--use_speed", "prodigy: estimate the distance the fast way"),
          choice("--objective", "direct: what it minimises")
              .choose({"subspace", "mixed"})
              .standard("mixed")
              .built(),
          number("--direct-damping", "direct: share of identity in the Hessian")
              .at_least(0)
              .standard("4")
              .built(),
          integer("--sweeps", "Coordinate-descent sweeps after direct and implied")
              .at_least(0)
              .standard("0")
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
              .choose({"adaptive", "exponential", "plateau"})
              .standard("adaptive"),
          number("--lr_gamma", "exponential: factor per step").above(0).at_most(1).standard("0.99"),
          integer("--lr_patience", "plateau: steps without a gain before a reduction")
              .at_least(0)
              .standard("9"),
          number("--lr_factor", "plateau: factor of a reduction").above(0).below(1).standard("0.92"),
          number("--lr_min", "exponential, plateau: floor of the learning rate")
              .at_least(0)
              .standard("1e-10"),
          integer("--lr_cooldown", "plateau: steps after a reduction that count for nothing")
              .at_least(0)
              .standard("6"),
          number("--lr_threshold", "Smallest gain that counts; 0 takes any").at_least(0).standard("0.0"),
          choice("--lr_adaptive_mode",
                 "adaptive: whether the stall counter is cleared before the boost is chosen")
              .choose({"simple-reset", "no-reset"})
              .standard("simple-reset"),
      });
}

}  // namespace ctq::cli
