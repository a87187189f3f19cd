#include "time_budget.h"

#include <algorithm>

namespace ctq::pipeline {
namespace {

// One pass over layers of 768 columns took 9 times as long as rounding them to nearest, where cost says 14.
constexpr double kLowGuess = 0.5;

}  // namespace

void TimeBudget::nearest_took(double seconds, double elements) { nearest_ = {seconds, elements}; }

bool TimeBudget::grants(const Job& job) const {
  return left() > 0 && expected_seconds(job).value_or(0) <= left();
}

double TimeBudget::left() const { return std::max(spent_.budget - spent_.seconds, 0.0); }

void TimeBudget::optimized(const Job& job, double seconds, double error, bool cut_short) {
  spent_.seconds += seconds;
  spent_.least_optimized = spent_.optimized == 0 ? error : std::min(spent_.least_optimized, error);
  ++spent_.optimized;
  if (cut_short) {
    ++spent_.cut_short;
    return;  // the time of a part says nothing of the whole
  }
  rates_[job.optimizer].seconds += seconds;
  rates_[job.optimizer].cost += job.cost;
}

void TimeBudget::left_over(double error) {
  spent_.largest_left_over = std::max(spent_.largest_left_over, error);
  ++spent_.left_over;
}

std::optional<double> TimeBudget::expected_seconds(const Job& job) const {
  const auto known = rates_.find(job.optimizer);
  if (known == rates_.end() && job.optimizer->heeds_deadline) return std::nullopt;
  const bool guessed = known == rates_.end();
  const Rate& rate = guessed ? nearest_ : known->second;
  if (!(rate.cost > 0)) return std::nullopt;
  return job.cost * rate.seconds / rate.cost * (guessed ? kLowGuess : 1);
}

}  // namespace ctq::pipeline
