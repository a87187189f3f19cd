#include "known_input.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "calibrate/statistics.h"

namespace ctq::pipeline {
namespace {

constexpr int64_t kPlentyOfRows = 2048, kPlentyPerColumn = 8, kPlentyOfGroups = 8;
constexpr int64_t kHeldBackOfPlenty = 10, kHeldBackOfFew = 4;  // one of so many
constexpr int64_t kFewGroups = 16;  // each is held back by itself, several ways, as each says much
constexpr double kAllFresh = 0.95, kLeastFresh = 0.05;  // of calibrate::novelty()
constexpr int64_t kNarrow = 1024;                       // columns up to which many ways cost little
constexpr int64_t kManyGroups = 64;                     // of few rows: one way to hold back is enough

/// Tells inputs apart: what a recording calls one input may be divided for some of its readers only.
std::string input_key(const std::string& input, const std::string& layer, const at::Tensor& factors) {
  return factors.defined() && !input.empty() ? fmt::format("{} divided for {}", input, layer) : input;
}

std::vector<at::Tensor> held_back_sets(const calibrate::InputRows& rows, bool plenty) {
  const int64_t groups = rows.group_count;
  const bool by_picture = rows.grouped_by == calibrate::GroupedBy::kPicture;
  if (plenty && (!by_picture || groups >= kManyGroups))
    return calibrate::held_back_sets(rows, kHeldBackOfPlenty, 1);
  if (plenty) return calibrate::held_back_sets(rows, kHeldBackOfFew, 2);
  if (groups <= kFewGroups)
    return calibrate::held_back_sets(rows, groups, static_cast<size_t>(most_trial_sets(rows.rows.size(1))));
  return calibrate::held_back_sets(rows, kHeldBackOfFew, groups >= kManyGroups ? 1 : 2);
}

}  // namespace

int64_t most_trial_sets(int64_t in_features) { return in_features <= kNarrow ? 8 : 3; }

void KnownInput::turn_to(const std::string& layer, at::Device device) {
  const bool moved = device != device_;
  layer_ = layer;
  device_ = device;
  const at::Tensor by = factors();
  const std::string recorded = input_key(options_.recording ? options_.recording->key(layer) : "", layer, by);
  const std::string implied = input_key(methods_.implied().input_key(layer), layer, by);
  if (moved || recorded != recorded_key_) {
    recorded_key_ = recorded;
    has_recorded_ = false;
    recorded_.reset(), sets_.reset(), damping_.reset();
    second_ = learned_second_ = linalg::Moment();
    held_back_ = at::Tensor();
  }
  if (moved || implied != implied_key_) {
    implied_key_ = implied;
    has_implied_ = false;
    implied_.reset();
  }
}

at::Tensor KnownInput::factors() const {
  const at::Tensor factors = smoothing_ ? smoothing_->factors(layer_) : at::Tensor();
  return factors.defined() ? factors.to(device_) : factors;
}

const calibrate::RecordedInput* KnownInput::recorded() {
  if (!std::exchange(has_recorded_, true) && !recorded_key_.empty()) {
    recorded_ = options_.recording->load(layer_, device_);
    if (const at::Tensor by = factors(); recorded_ && by.defined()) {
      if (recorded_->diagonal.defined()) recorded_->diagonal = recorded_->diagonal / by.square();
      for (at::Tensor* vectors : {&recorded_->mean, &recorded_->channel_max, &recorded_->rows.rows})
        if (vectors->defined()) *vectors = *vectors / by;
      if (recorded_->second.defined()) recorded_->second = recorded_->second.divided(by);
    }
  }
  return recorded_ ? &*recorded_ : nullptr;
}

const std::optional<calibrate::InputMoments>& KnownInput::implied() {
  if (std::exchange(has_implied_, true)) return implied_;
  implied_ = methods_.implied().moments(layer_, options_.optimizer.seed, calibrate::kImpliedRows, device_);
  if (const at::Tensor by = factors(); implied_ && by.defined()) {
    implied_->mean = implied_->mean / by;
    implied_->second = implied_->second.divided(by);
  }
  return implied_;
}

const linalg::Moment& KnownInput::second() {
  const calibrate::RecordedInput* input = recorded();
  if (!input || second_.defined()) return second_;
  if (input->second.defined()) {
    second_ = input->second;
  } else if (input->rows.any()) {
    // Of pictures, rows that were fitted are among those that are judged by.
    const bool joins = sets_ && sets_->size() == 1 && sets_->front().second.is_matrix() &&
                       input->rows.grouped_by != calibrate::GroupedBy::kPicture && !input->diagonal.defined();
    second_ = joins ? joined(sets_->front()) : of_rows();
  }
  return second_;
}

/// Of the rows of that index, or all, with the diagonal of all that was seen.
linalg::Moment KnownInput::of_rows(const at::Tensor& index) const {
  return calibrate::completed(calibrate::input_moment(recorded_->rows, index), recorded_->diagonal);
}

/// Of the rows that are held back and the others, which costs a tenth of making it anew.
linalg::Moment KnownInput::joined(const HeldBack& set) const {
  const double all = recorded_->rows.counts.sum(at::kDouble).item<double>();
  const double held_back = set.roots.square().sum(at::kDouble).item<double>();
  const auto rows = static_cast<double>(set.rows.size(0));
  return (set.second.matrix() * (1 - held_back / all)).add_(calibrate::second_moment(set.rows), rows / all);
}

const linalg::Moment& KnownInput::learned_second() {
  const calibrate::RecordedInput* input = recorded();
  if (!input || learned_second_.defined()) return learned_second_;
  if (input->second.defined()) {
    learned_second_ = input->second;
  } else if (input->rows.any()) {
    learned_second_ = of_rows(calibrate::all_but(input->rows, input->held_back()));
  }
  return learned_second_;
}

at::Tensor KnownInput::divided(const at::Tensor& second) const {
  const at::Tensor by = factors();
  return by.defined() ? linalg::Moment(second).divided(by).matrix() : second;
}

at::Tensor KnownInput::held_back() {
  const calibrate::RecordedInput* input = recorded();
  if (!input || !input->rows.any() || held_back_.defined()) return held_back_;
  const at::Tensor index = input->held_back();
  if (index.size(0) > 0) held_back_ = rows_at(input->rows, index).rows;
  return held_back_;
}

bool KnownInput::is_plentiful() {
  const calibrate::RecordedInput* input = recorded();
  if (!input || !input->rows.any()) return false;
  const int64_t enough = std::min(kPlentyOfRows, kPlentyPerColumn * input->rows.rows.size(1));
  return input->rows.rows.size(0) >= enough && input->rows.group_count >= kPlentyOfGroups;
}

std::span<const HeldBack> KnownInput::trial_sets() {
  if (sets_) return *sets_;
  sets_.emplace();
  const calibrate::RecordedInput* input = recorded();
  if (!input || !input->rows.any()) return *sets_;
  const calibrate::InputRows& rows = input->rows;
  const double fresh = calibrate::novelty(rows);
  for (const at::Tensor& index : held_back_sets(rows, is_plentiful())) {
    const at::Tensor others = calibrate::all_but(rows, index);
    HeldBack& set = sets_->emplace_back(rows_at(rows, index));
    set.second = of_rows(others);
    if (fresh >= kAllFresh) continue;
    // What recurs is fitted, and a part of what is judged by.
    const HeldBack seen =
        rows_at(rows, others.slice(0, 0, others.size(0), 1 + others.size(0) / kMostSeenRows));
    const double share = set.roots.square().sum().item<double>() / seen.roots.square().sum().item<double>();
    const double root = std::sqrt(share * (1 - fresh) / std::max(fresh, kLeastFresh));
    set.rows = at::cat({set.rows, seen.rows * root});
    set.roots = at::cat({set.roots, seen.roots * root});
  }
  return *sets_;
}

std::optional<Damping>& KnownInput::damping_for(const std::string& format) {
  if (std::exchange(damping_format_, format) != format) damping_.reset();
  return damping_;
}

}  // namespace ctq::pipeline
