#include "pipeline/time_budget.h"

#include <catch2/catch.hpp>

namespace ctq::pipeline {
namespace {

TimeBudget::Job direct(double cost) { return {.optimizer = &optimize::kDirect, .cost = cost}; }
TimeBudget::Job adamw(double cost) { return {.optimizer = &optimize::kAdamW, .cost = cost}; }

}  // namespace

TEST_CASE("time budget: a layer is granted when its method's seconds per cost fit in what is left",
          "[pipeline]") {
  TimeBudget budget(10);
  CHECK(budget.left() == 10);
  budget.optimized(direct(100), 4, 0.5, /*cut_short=*/false);
  CHECK(budget.left() == 6);
  CHECK(budget.grants(direct(150)));
  CHECK_FALSE(budget.grants(direct(151)));
  CHECK(budget.grants(direct(10)));              // a smaller one after one that did not fit
  budget.optimized(direct(100), 2, 0.4, false);  // 3 seconds per 100 on average
  CHECK(budget.grants(direct(133)));
  CHECK_FALSE(budget.grants(direct(134)));
}

TEST_CASE("time budget: of an optimizer that has not run, half as long as rounding to nearest is the guess",
          "[pipeline]") {
  TimeBudget budget(10);
  CHECK(budget.grants(direct(1e9)));  // nothing is known
  budget.nearest_took(2, 100);
  CHECK(budget.grants(direct(990)));
  CHECK_FALSE(budget.grants(direct(1010)));
  budget.optimized(direct(500), 1, 0.5, false);
  CHECK(budget.grants(direct(4500)));
}

TEST_CASE("time budget: what can be cut short begins while anything is left, until its speed is known",
          "[pipeline]") {
  TimeBudget budget(10);
  budget.nearest_took(2, 100);
  CHECK(budget.grants(adamw(1e9)));
  budget.optimized(direct(1), 9.5, 0.5, false);
  CHECK(budget.grants(adamw(1e9)));
  budget.optimized(adamw(100), 0.1, 0.5, false);
  CHECK(budget.grants(adamw(400)));
  CHECK_FALSE(budget.grants(adamw(401)));
}

TEST_CASE("time budget: nothing is granted once it is used up", "[pipeline]") {
  TimeBudget budget(10);
  const double seconds = GENERATE(10.0, 12.0);
  budget.optimized(adamw(100), seconds, 0.5, /*cut_short=*/true);
  CHECK(budget.left() == 0);
  CHECK_FALSE(budget.grants(adamw(0)));
  CHECK_FALSE(budget.grants(direct(0)));
}

TEST_CASE("time budget: says what became of it", "[pipeline]") {
  TimeBudget budget(10);
  CHECK(budget.spent().optimized == 0);
  budget.optimized(direct(1), 3, 0.4, false);
  budget.optimized(adamw(1), 2, 0.2, true);
  budget.optimized(direct(1), 1, 0.3, false);
  budget.left_over(0.1);
  budget.left_over(0.25);
  budget.left_over(0.05);
  const TimeSpent& spent = budget.spent();
  CHECK(spent.budget == 10);
  CHECK(spent.seconds == 6);
  CHECK(spent.optimized == 3);
  CHECK(spent.cut_short == 1);
  CHECK(spent.left_over == 3);
  CHECK(spent.largest_left_over == 0.25);
  CHECK(spent.least_optimized == 0.2);
}

}  // namespace ctq::pipeline
