#include "known_input.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "calibrate/statistics.h"

namespace ctq::pipeline {
namespace {

constexpr int64_t kPlentyOfRows = 2048, kPlentyPerColumn = 8, kPlentyOfGroups = 8;
constexpr int64_t kHeldBackOfPlenty = 10, kHeldBackOfFew = 4;  // one of so many
constexpr int64_t kManyGroups = 64;                            // of few rows: one way to hold back is enough

/// Of x / factors, from the second moment of x.
at::Tensor of_divided(const at::Tensor& second, const at::Tensor& factors) {
  return (second / factors).div_(factors.unsqueeze(1));
}

/// Tells inputs apart: what a recording calls one input may be divided for some of its readers only.
std::string input_key(const std::string& input, const std::string& layer, const at::Tensor& factors) {
  return factors.defined() && !input.empty() ? fmt::format("{} divided for {}", input, layer) : input;
}

}  // namespace

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
    second_ = learned_second_ = held_back_ = at::Tensor();
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
      for (at::Tensor* vectors : {&recorded_->mean, &recorded_->channel_max, &recorded_->rows.rows})
        if (vectors->defined()) *vectors = *vectors / by;
      if (recorded_->second.defined()) recorded_->second = of_divided(recorded_->second, by);
    }
  }
  return recorded_ ? &*recorded_ : nullptr;
}

const std::optional<calibrate::InputMoments>& KnownInput::implied() {
  if (std::exchange(has_implied_, true)) return implied_;
  implied_ = methods_.implied().moments(layer_, options_.optimizer.seed, calibrate::kImpliedRows, device_);
  if (const at::Tensor by = factors(); implied_ && by.defined()) {
    implied_->mean = implied_->mean / by;
    implied_->second = of_divided(implied_->second, by);
  }
  return implied_;
}

at::Tensor KnownInput::second() {
  const calibrate::RecordedInput* input = recorded();
  if (!input || second_.defined()) return second_;
  if (input->second.defined()) {
    second_ = input->second;
  } else if (input->rows.any()) {
    second_ = sets_ && sets_->size() == 1 ? joined(sets_->front()) : calibrate::second_moment(input->rows);
  }
  return second_;
}

/// Of the rows that are held back and the others, which costs a tenth of making it anew.
at::Tensor KnownInput::joined(const HeldBack& set) const {
  const double all = recorded_->rows.counts.sum(at::kDouble).item<double>();
  const auto rows = static_cast<double>(set.rows.size(0));
  return (set.second * (1 - set.count / all)).add_(calibrate::second_moment(set.rows), rows / all);
}

at::Tensor KnownInput::learned_second() {
  const calibrate::RecordedInput* input = recorded();
  if (!input || learned_second_.defined()) return learned_second_;
  if (input->second.defined()) {
    learned_second_ = input->second;
  } else if (input->rows.any()) {
    learned_second_ =
        calibrate::second_moment(input->rows, calibrate::all_but(input->rows, input->held_back()));
  }
  return learned_second_;
}

at::Tensor KnownInput::divided(const at::Tensor& second) const {
  const at::Tensor by = factors();
  return by.defined() ? of_divided(second, by) : second;
}

at::Tensor KnownInput::weighted(const at::Tensor& index) const {
  const calibrate::InputRows& rows = recorded_->rows;
  const at::Tensor chosen = index.to(device_);
  return rows.rows.index_select(0, chosen) * rows.counts.index_select(0, chosen).sqrt().unsqueeze(1);
}

at::Tensor KnownInput::held_back() {
  const calibrate::RecordedInput* input = recorded();
  if (!input || !input->rows.any() || held_back_.defined()) return held_back_;
  const at::Tensor index = input->held_back();
  if (index.size(0) > 0) held_back_ = weighted(index);
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
  const bool plenty = is_plentiful(), many = input->rows.group_count >= kManyGroups;
  for (const at::Tensor& index : calibrate::held_back_sets(
           input->rows, plenty ? kHeldBackOfPlenty : kHeldBackOfFew, plenty || many ? 1 : 2))
    sets_->push_back(
        {.rows = weighted(index),
         .count = input->rows.counts.cpu().index_select(0, index).sum(at::kDouble).item<double>(),
         .second = calibrate::second_moment(input->rows, calibrate::all_but(input->rows, index))});
  return *sets_;
}

std::optional<Damping>& KnownInput::damping_for(const std::string& format) {
  if (std::exchange(damping_format_, format) != format) damping_.reset();
  return damping_;
}

}  // namespace ctq::pipeline
