// The seconds that a run's optimizers may take altogether. Knows no tensors and no clock.
#pragma once

#include <map>
#include <optional>

#include "optimize/optimizer.h"
#include "pipeline/convert.h"

namespace ctq::pipeline {

/// Grants layers an optimizer as long as the time that it is likely to take is left.
///
/// What a layer is likely to take is its cost (partition.h) times the seconds that a unit of cost took with
/// its optimizer so far. Where the optimizer has not run yet, one that heeds a deadline is granted, since it
/// ends with the budget. For others a unit is then taken to last half as long as rounding to nearest took for
/// it: a low guess, since a layer that is passed over has the largest error and is not taken up again.
class TimeBudget {
 public:
  struct Job {
    const optimize::Optimizer* optimizer = &optimize::kNearest;
    double cost = 0;  ///< units of one element rounded to nearest
  };

  /// seconds: above 0
  explicit TimeBudget(double seconds) { spent_.budget = seconds; }

  /// What rounding to nearest took for so many elements.
  void nearest_took(double seconds, double elements);

  bool grants(const Job& job) const;
  /// Seconds, never below 0.
  double left() const;

  /// A layer was optimized. error: of round to nearest; cut_short: the budget ended it
  void optimized(const Job& job, double seconds, double error, bool cut_short);
  /// A layer was rounded to nearest. error: of that
  void left_over(double error);

  const TimeSpent& spent() const { return spent_; }

 private:
  struct Rate {
    double seconds = 0;
    double cost = 0;
  };

  /// Nothing where nothing can be said.
  std::optional<double> expected_seconds(const Job& job) const;

  TimeSpent spent_;
  Rate nearest_;
  std::map<const optimize::Optimizer*, Rate> rates_;
};

}  // namespace ctq::pipeline
