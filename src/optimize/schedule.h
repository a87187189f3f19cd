// Learning rates and stopping rules of iterative learned rounding.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

namespace ctq::optimize {

enum class Schedule : uint8_t {
  kAdaptive,        ///< boost on improvement, decay otherwise, by tiers of the stall counter
  kAdaptiveCosine,  ///< the same with a smooth factor in place of tiers
  kExponential,     ///< a constant factor per iteration
  kPlateau,         ///< a reduction when nothing has improved for a while
};

/// When the tier form clears the stall counter: before it picks the boost, or after it.
enum class StallReset : uint8_t { kSimple, kLate };

/// What `threshold` is measured against.
enum class ThresholdMode : uint8_t { kRelative, kAbsolute };

struct ScheduleSettings {
  Schedule kind = Schedule::kAdaptive;
  double gamma = 0.99;    ///< exponential: factor per iteration
  int64_t patience = 9;   ///< plateau: iterations without improvement before a reduction
  double factor = 0.92;   ///< plateau: factor of a reduction; adaptive-cosine: base of the decay
  double lowest = 1e-10;  ///< exponential, plateau: floor
  double highest = 100;   ///< adaptive forms: ceiling
  int64_t cooldown =
      6;  ///< plateau: iterations without reduction after one; cosine: decay every n iterations
  double threshold = 0;  ///< smallest improvement that counts; 0: any
  ThresholdMode threshold_mode = ThresholdMode::kRelative;
  StallReset stall_reset = StallReset::kSimple;
  double shape_influence = 1;  ///< plateau: how far the aspect ratio sharpens `factor`, 0 to 1
  int64_t hold = 0;            ///< iterations at the start in which the rate is never reduced
};

struct StopSettings {
  double loss = 1e-8;    ///< stop at or below
  double lr = 1e-10;     ///< stop at or below
  int64_t stall = 1000;  ///< stop after more iterations than this without improvement
};

/// A learning rate that follows the losses it is told, one per iteration.
///
/// A loss L is an improvement over the best when L < best (threshold t = 0), L < best (1 - t) (relative) or
/// best - L > t (absolute). An improvement clears the stall counter, anything else raises it by 1; c below is
/// the counter after that, c0 the one before.
///
/// exponential      lr <- max(lr gamma, lowest)
/// plateau          lr <- max(lr f, lowest) once more than `patience` losses in a row bring nothing and no
///                  cooldown runs; f = factor + (factor^sqrt(r) - factor) shape_influence, r = longer /
///                  shorter side
/// adaptive         improved: lr <- min(lr boost, highest), boost by tiers of c (simple) or c0 (late);
///                  else lr <- max(lr decay, floor), both by tiers of c
/// adaptive-cosine  u(n) = (1 + cos(2 pi min(n / stop.stall, 1))) / 2, a = |M - N| / max(M, N);
///                  improved: lr <- min(lr (1 + 0.25 (1 + 0.5 a) (1 - u(c0))), highest); else, every
///                  `cooldown` iterations: lr <- max(lr (m + (0.995 - m) u(c)), stop.lr), m = factor - 0.03 a
class LearningRate {
 public:
  /// rows, cols: shape of the weight.
  LearningRate(const ScheduleSettings& settings, const StopSettings& stop, double lr, int64_t rows,
               int64_t cols);

  double value() const { return lr_; }
  double best() const { return best_; }
  int64_t stall() const { return stall_; }

  /// Takes the loss of an iteration.
  /// returns  whether it was an improvement
  bool update(double loss);

  /// Why to stop now: "loss", "learning rate", "stall", "loss and learning rate", "learning rate and stall"
  /// (both nearly reached counts); empty to go on. The loss tested is the best.
  std::string_view stop_reason() const;

 private:
  bool improves(double loss) const;
  void follow_plateau();
  void follow_tiers(bool improved, int64_t stall_before);
  void follow_cosine(bool improved, int64_t stall_before);

  ScheduleSettings settings_;
  StopSettings stop_;
  double lr_;
  double reduction_;  // plateau: f
  double asymmetry_;  // cosine: a
  double best_ = std::numeric_limits<double>::infinity();
  int64_t iteration_ = 0;
  int64_t stall_ = 0;
  int64_t plateau_ = 0;   // losses without improvement since the last reduction
  int64_t cooldown_ = 0;  // iterations that remain
};

}  // namespace ctq::optimize
