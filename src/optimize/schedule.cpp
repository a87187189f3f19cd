#include "optimize/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace ctq::optimize {
namespace {

struct Boost {
  int64_t from;  // stall counter
  double factor;
};
constexpr Boost kBoosts[] = {{0, 1.25},   {50, 1.375}, {75, 1.5},   {100, 1.75}, {125, 2.0},
                             {150, 2.25}, {200, 2.5},  {250, 2.75}, {300, 3.0}};

struct Decay {
  int64_t from;  // stall counter
  double factor;
  double floor;
};
constexpr Decay kDecays[] = {{0, 0.95, 9e-8},      {26, 0.97, 8e-8},     {51, 0.985, 7e-8},
                             {76, 0.9875, 6e-8},   {101, 0.98875, 5e-8}, {151, 0.99, 4e-8},
                             {201, 0.99125, 3e-8}, {251, 0.9925, 2e-8},  {301, 0.995, 5e-9}};

/// The last row that starts at or below the counter.
template <typename Row, size_t kRows>
const Row& tier(const Row (&rows)[kRows], int64_t stall) {
  const Row* row = rows;
  for (const Row& next : rows) {
    if (next.from <= stall) row = &next;
  }
  return *row;
}

double aspect_ratio(int64_t rows, int64_t cols) {
  const int64_t shorter = std::max<int64_t>(std::min(rows, cols), 1);
  return static_cast<double>(std::max(rows, cols)) / static_cast<double>(shorter);
}

}  // namespace

LearningRate::LearningRate(const ScheduleSettings& settings, const StopSettings& stop, double lr,
                           int64_t rows, int64_t cols)
    : settings_(settings), stop_(stop), lr_(lr) {
  const double ratio = aspect_ratio(rows, cols), factor = settings.factor;
  reduction_ = factor + (std::pow(factor, std::sqrt(ratio)) - factor) * settings.shape_influence;
  asymmetry_ = 1 - 1 / std::max(ratio, 1.0);
}

bool LearningRate::improves(double loss) const {
  const double t = settings_.threshold;
  if (std::isinf(best_)) return std::isfinite(loss);
  if (t <= 0) return loss < best_;
  return settings_.threshold_mode == ThresholdMode::kRelative ? loss < best_ * (1 - t) : best_ - loss > t;
}

bool LearningRate::update(double loss) {
  const bool improved = improves(loss);
  const int64_t stall_before = stall_;
  if (improved) {
    best_ = loss;
    stall_ = plateau_ = 0;
  } else {
    ++stall_;
    ++plateau_;
  }
  const double before = lr_;
  switch (settings_.kind) {
    case Schedule::kExponential: lr_ = std::max(lr_ * settings_.gamma, settings_.lowest); break;
    case Schedule::kPlateau: follow_plateau(); break;
    case Schedule::kAdaptive: follow_tiers(improved, stall_before); break;
    case Schedule::kAdaptiveCosine: follow_cosine(improved, stall_before); break;
  }
  if (iteration_ < settings_.hold) lr_ = std::max(lr_, before);
  ++iteration_;
  return improved;
}

void LearningRate::follow_plateau() {
  if (cooldown_ > 0) {
    --cooldown_;
  } else if (plateau_ >= settings_.patience) {
    if (lr_ > settings_.lowest) {
      lr_ = std::max(lr_ * reduction_, settings_.lowest);
      cooldown_ = settings_.cooldown;
    }
    plateau_ = 0;
  }
}

void LearningRate::follow_tiers(bool improved, int64_t stall_before) {
  if (improved) {
    const int64_t counter = settings_.stall_reset == StallReset::kSimple ? 0 : stall_before;
    lr_ = std::min(lr_ * tier(kBoosts, counter).factor, settings_.highest);
  } else {
    const Decay& decay = tier(kDecays, stall_);
    // The floor stops a fall; it does not lift a rate that was chosen below it.
    lr_ = std::max(lr_ * decay.factor, std::min(lr_, decay.floor));
  }
}

void LearningRate::follow_cosine(bool improved, int64_t stall_before) {
  const auto u = [&](int64_t stall) {
    const double share = static_cast<double>(stall) / static_cast<double>(std::max<int64_t>(stop_.stall, 1));
    return (1 + std::cos(2 * std::numbers::pi * std::min(share, 1.0))) / 2;
  };
  if (improved) {
    const double boost = 1 + 0.25 * (1 + 0.5 * asymmetry_) * (1 - u(stall_before));
    lr_ = std::min(lr_ * boost, settings_.highest);
  } else if (iteration_ % std::max<int64_t>(settings_.cooldown, 1) == 0) {
    const double m = settings_.factor - 0.03 * asymmetry_;
    lr_ = std::max(lr_ * (m + (0.995 - m) * u(stall_)), stop_.lr);
  }
}

std::string_view LearningRate::stop_reason() const {
  const bool loss = best_ <= stop_.loss, rate = lr_ <= stop_.lr, stalled = stall_ > stop_.stall;
  if (!loss && !rate && !stalled) return "";
  if (loss) return rate ? "loss and learning rate" : "loss";
  const bool rate_near = lr_ <= 1.75 * stop_.lr;
  const bool stall_near = static_cast<double>(stall_) > 0.95 * static_cast<double>(stop_.stall);
  if (rate_near && stall_near) return "learning rate and stall";
  return rate ? "learning rate" : "stall";
}

}  // namespace ctq::optimize
