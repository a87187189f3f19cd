#include "optimize/schedule.h"

#include <cmath>

#include <catch2/catch.hpp>

namespace ctq::optimize {
namespace {

ScheduleSettings of(Schedule kind) {
  ScheduleSettings settings;
  settings.kind = kind;
  return settings;
}

/// The rate after a first loss of 1 and then these.
double after(const ScheduleSettings& settings, const std::vector<double>& losses, double lr = 1,
             int64_t rows = 64, int64_t cols = 64) {
  LearningRate rate(settings, {}, lr, rows, cols);
  rate.update(1);
  for (const double loss : losses) rate.update(loss);
  return rate.value();
}

std::vector<double> failures(size_t count) { return std::vector<double>(count, 2.0); }

TEST_CASE("schedule: exponential multiplies by gamma down to the floor", "[optimize]") {
  ScheduleSettings settings = of(Schedule::kExponential);
  CHECK(after(settings, failures(2)) == Approx(std::pow(0.99, 3)));
  settings.gamma = 0.5;
  CHECK(after(settings, {0.5, 2}) == Approx(0.125));
  settings.lowest = 0.2;
  CHECK(after(settings, failures(9)) == Approx(0.2));
}

TEST_CASE("schedule: plateau reduces after patience, then waits for the cooldown", "[optimize]") {
  ScheduleSettings settings = of(Schedule::kPlateau);
  settings.factor = 0.5;
  settings.patience = 3;
  settings.cooldown = 2;
  CHECK(after(settings, failures(2)) == 1);
  CHECK(after(settings, failures(3)) == 0.5);
  CHECK(after(settings, failures(5)) == 0.5);  // cooldown, in which failures are counted all the same
  CHECK(after(settings, failures(6)) == 0.25);
  CHECK(after(settings, {2, 2, 0.5, 2, 2}) == 1);  // an improvement starts the count again
  settings.cooldown = 0;
  settings.patience = 0;
  CHECK(after(settings, failures(3)) == 0.5 * 0.5 * 0.5 * 0.5);
  settings.lowest = 0.4;
  CHECK(after(settings, failures(3)) == 0.4);
}

TEST_CASE("schedule: plateau's factor sharpens with the aspect ratio", "[optimize]") {
  ScheduleSettings settings = of(Schedule::kPlateau);
  settings.patience = 1;
  settings.cooldown = 6;
  CHECK(after(settings, failures(1), 1, 384, 384) == Approx(0.92));
  CHECK(after(settings, failures(1), 1, 1536, 384) == Approx(0.8464));
  CHECK(after(settings, failures(1), 1, 384, 2304) == Approx(0.8153).margin(5e-5));
  settings.shape_influence = 0;
  CHECK(after(settings, failures(1), 1, 1536, 384) == Approx(0.92));
  settings.shape_influence = 0.5;
  CHECK(after(settings, failures(1), 1, 1536, 384) == Approx((0.92 + 0.8464) / 2));
}

TEST_CASE("schedule: the tiers of adaptive", "[optimize]") {
  const ScheduleSettings settings = of(Schedule::kAdaptive);
  CHECK(after(settings, {}) == 1.25);  // the first loss is an improvement over none
  CHECK(after(settings, {0.9, 0.8}) == Approx(1.25 * 1.25 * 1.25));
  CHECK(after(settings, failures(25)) == Approx(1.25 * std::pow(0.95, 25)));
  CHECK(after(settings, failures(26)) == Approx(1.25 * std::pow(0.95, 25) * 0.97));
  // From 8.0773e-3: 300 failures 8.0e-5, 1000 failures 2.4e-6
  const double start = 8.0773e-3 / 1.25;
  CHECK(after(settings, failures(300), start) == Approx(8.0e-5).margin(5e-7));
  CHECK(after(settings, failures(1000), start) == Approx(2.4e-6).margin(5e-8));
  CHECK(after(settings, failures(5000), start) == Approx(5e-9));
  CHECK(after(settings, std::vector<double>(1, 0.5), 90) == 100);
  CHECK(after(settings, failures(1), 1e-12) == Approx(1.25e-12));  // a floor does not lift
}

TEST_CASE("schedule: only late reset reaches the higher boosts", "[optimize]") {
  ScheduleSettings settings = of(Schedule::kAdaptive);
  for (const auto& [count, boost] : std::vector<std::pair<size_t, double>>{{49, 1.25},
                                                                           {50, 1.375},
                                                                           {75, 1.5},
                                                                           {100, 1.75},
                                                                           {125, 2},
                                                                           {150, 2.25},
                                                                           {200, 2.5},
                                                                           {250, 2.75},
                                                                           {300, 3}}) {
    std::vector<double> losses = failures(count);
    const double before = after(settings, losses);
    losses.push_back(0.5);
    settings.stall_reset = StallReset::kSimple;
    CHECK(after(settings, losses) == Approx(before * 1.25));
    settings.stall_reset = StallReset::kLate;
    CHECK(after(settings, losses) == Approx(before * boost));
    losses.push_back(0.4);  // cleared now
    CHECK(after(settings, losses) == Approx(before * boost * 1.25));
  }
}

TEST_CASE("schedule: adaptive-cosine", "[optimize]") {
  ScheduleSettings settings = of(Schedule::kAdaptiveCosine);
  settings.cooldown = 1;
  CHECK(after(settings, {}) == 1);  // u(0) = 1: no boost without a stall
  const auto u = [](double stall) { return (1 + std::cos(2 * M_PI * stall / 1000)) / 2; };
  CHECK(after(settings, failures(1)) == Approx(0.92 + 0.075 * u(1)));
  const double two = (0.92 + 0.075 * u(1)) * (0.92 + 0.075 * u(2));
  CHECK(after(settings, failures(2)) == Approx(two));
  CHECK(after(settings, {2, 2, 0.5}) == Approx(two * (1 + 0.25 * (1 - u(2)))));
  // a = |M - N| / max(M, N) = 0.75
  const double wide = 0.92 - 0.03 * 0.75 + (0.995 - 0.92 + 0.03 * 0.75) * u(1);
  CHECK(after(settings, failures(1), 1, 16, 64) == Approx(wide));
  CHECK(after(settings, {2, 0.5}, 1, 16, 64) == Approx(wide * (1 + 0.25 * 1.375 * (1 - u(1)))));
  settings.cooldown = 3;  // iterations 0, 3, 6 ... decay; 0 was an improvement
  CHECK(after(settings, failures(2)) == 1);
  CHECK(after(settings, failures(3)) == Approx(0.92 + 0.075 * u(3)));
}

TEST_CASE("schedule: what counts as an improvement", "[optimize]") {
  const auto improves = [](double threshold, ThresholdMode mode, double loss) {
    ScheduleSettings settings;
    settings.threshold = threshold;
    settings.threshold_mode = mode;
    LearningRate rate(settings, {}, 1, 1, 1);
    CHECK(rate.update(4));
    return rate.update(loss);
  };
  CHECK(improves(0, ThresholdMode::kRelative, 3.999));
  CHECK_FALSE(improves(0, ThresholdMode::kRelative, 4));
  CHECK_FALSE(improves(0.1, ThresholdMode::kRelative, 3.61));
  CHECK(improves(0.1, ThresholdMode::kRelative, 3.59));
  CHECK_FALSE(improves(0.1, ThresholdMode::kAbsolute, 3.91));
  CHECK(improves(0.1, ThresholdMode::kAbsolute, 3.89));
}

TEST_CASE("schedule: hold keeps the rate from falling", "[optimize]") {
  ScheduleSettings settings = of(Schedule::kExponential);
  settings.hold = 3;
  CHECK(after(settings, failures(2)) == 1);
  CHECK(after(settings, failures(4)) == Approx(0.99 * 0.99));
}

TEST_CASE("early stop: reasons", "[optimize]") {
  const StopSettings never{.loss = 0, .lr = 0, .stall = 1000};
  const auto reason = [](StopSettings stop, const std::vector<double>& losses, double lr = 1) {
    ScheduleSettings settings = of(Schedule::kExponential);
    settings.gamma = 0.5;
    settings.lowest = 0;
    LearningRate rate(settings, stop, lr, 8, 8);
    for (const double loss : losses) rate.update(loss);
    return std::string(rate.stop_reason());
  };
  CHECK(reason(never, {1, 0.5, 0.7}).empty());
  CHECK(reason({.loss = 0.5, .lr = 0, .stall = 9}, {1, 0.5, 0.7}) == "loss");  // the best counts
  CHECK(reason({.loss = 0.4, .lr = 0, .stall = 9}, {1, 0.5, 0.7}).empty());
  CHECK(reason({.loss = 0, .lr = 0.25, .stall = 9}, {1}).empty());
  CHECK(reason({.loss = 0, .lr = 0.25, .stall = 9}, {1, 2}) == "learning rate");
  CHECK(reason({.loss = 0, .lr = 0, .stall = 2}, {1, 2, 2}).empty());
  CHECK(reason({.loss = 0, .lr = 0, .stall = 2}, {1, 2, 2, 2}) == "stall");
  CHECK(reason({.loss = 0.5, .lr = 0.25, .stall = 9}, {1, 0.5}) == "loss and learning rate");
  CHECK(reason({.loss = 0, .lr = 0.0625, .stall = 2}, {1, 2, 2, 2}) == "learning rate and stall");
}

}  // namespace
}  // namespace ctq::optimize
