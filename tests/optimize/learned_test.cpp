#include "optimize/learned.h"

#include <chrono>
#include <cmath>

#include <catch2/catch.hpp>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

namespace ctq::optimize {
namespace {

using format::Codec;
using format::Granularity;

constexpr const Learner* kLearners[] = {&kNormalisedGradient, &kAdamWSteps, &kRAdamSteps, &kProdigySteps};

at::Tensor normal(int64_t rows, int64_t cols, uint64_t seed = 1) {
  return at::randn({rows, cols}, at::make_generator<at::CPUGeneratorImpl>(seed));
}

const Codec& fp8() { return *format::find_codec("float8_e4m3fn", Granularity::kTensor); }
const Codec& int8() { return *format::find_codec("int8_tensorwise", Granularity::kRow); }

/// k = 8 of the small weights here, found exactly.
LearnedSettings settings_for(const Learner* learner, int64_t iterations = 200) {
  LearnedSettings settings;
  settings.learner = learner;
  settings.iterations = iterations;
  settings.lr = learner->usual_lr;
  settings.subspace.min_k = 8;
  settings.subspace.top_p = 0.05;
  settings.subspace.full_svd = true;
  return settings;
}

double frobenius(const at::Tensor& t) { return t.to(at::kDouble).norm().item<double>(); }

/// ||U^T E V|| / ||W|| in float64, from the definition.
double subspace_rel(const Layer& layer, const at::Tensor& values, int64_t k) {
  const at::Tensor w = layer.weight.to(at::kDouble);
  const auto [u, s, vh] = at::linalg_svd(w, /*full_matrices=*/false);
  const at::Tensor error = values.to(at::kDouble) * expanded_scale(layer, layer.scale).to(at::kDouble) - w;
  return frobenius(u.narrow(1, 0, k).t().mm(error).mm(vh.narrow(0, 0, k).t())) / frobenius(w);
}

bool same(const at::Tensor& a, const at::Tensor& b) { return at::equal(a, b); }

TEST_CASE("learned: rank of the subspace", "[optimize]") {
  SubspaceSettings settings;
  CHECK(subspace_rank(384, 384, settings) == 76);
  CHECK(subspace_rank(1536, 384, settings) == 76);
  CHECK(subspace_rank(100, 300, settings) == 64);
  CHECK(subspace_rank(8, 300, settings) == 8);
  CHECK(subspace_rank(12288, 12288, settings) == 1024);
}

TEST_CASE("learned: every method beats round to nearest by a third", "[optimize]") {
  for (const Codec* codec : {&int8(), &fp8()}) {
    const Layer layer = make_layer(*codec, normal(96, 128), 0);
    for (const Learner* learner : kLearners) {
      CAPTURE(codec->format, learner->name);
      const Rounding result = learned_rounding(layer, settings_for(learner));
      CHECK(result.method == learner->name);
      CHECK(result.objective == "subspace");
      CHECK_FALSE(result.guarded);
      CHECK(result.objective_value < 0.67 * result.nearest_objective);
      CHECK(result.nearest_objective == Approx(subspace_rel(layer, layer.nearest, 8)).epsilon(1e-3));
      CHECK(result.objective_value == Approx(subspace_rel(layer, result.values, 8)).epsilon(1e-2));
    }
  }
}

TEST_CASE("learned: on every codec never worse than round to nearest, on the grid, next to the weight",
          "[optimize]") {
  for (const Codec& codec : format::registry()) {
    for (const Learner* learner : kLearners) {
      CAPTURE(codec.label(), learner->name);
      const Layer layer = make_layer(codec, normal(32, 64, 7) * 0.02, 16);
      const Rounding result = learned_rounding(layer, settings_for(learner, 40));
      CHECK(result.objective_value <= result.nearest_objective);
      CHECK(result.objective_value < result.nearest_objective);
      CHECK(same(layer.grid->nearest(result.values), result.values));
      const at::Tensor u = layer.weight / expanded_scale(layer, layer.scale);
      const at::Tensor neighbour =
          (result.values == layer.grid->below(u)).logical_or(result.values == layer.grid->above(u));
      CHECK(neighbour.all().item<bool>());
    }
  }
}

/// The least loss over all choices of neighbours, k = 1. Then the loss is |sum of u_i E_ij v_j|.
double brute_force(const Layer& layer) {
  const at::Tensor w = layer.weight.to(at::kDouble), scale = expanded_scale(layer, layer.scale);
  const auto [u, s, vh] = at::linalg_svd(w, /*full_matrices=*/false);
  const at::Tensor pull = u.narrow(1, 0, 1).mm(vh.narrow(0, 0, 1)), scaled = layer.weight / scale;
  const auto share = [&](const at::Tensor& values) {
    return ((values.to(at::kDouble) * scale - w) * pull).contiguous().view(-1);
  };
  const at::Tensor below = share(layer.grid->below(scaled)), above = share(layer.grid->above(scaled));
  double least = INFINITY;
  for (int64_t choice = 0; choice < int64_t{1} << w.numel(); ++choice) {
    double sum = 0;
    for (int64_t i = 0; i < w.numel(); ++i) {
      sum += (choice >> i & 1 ? above : below).const_data_ptr<double>()[i];
    }
    least = std::min(least, std::abs(sum));
  }
  return least / frobenius(w);
}

TEST_CASE("learned: close to the best of all choices where they can be counted", "[optimize]") {
  // Fractions below a half that all err to one side: round to nearest adds them up, the best choice cancels
  // them.
  at::Tensor weight = at::tensor({127.0, 90.41, 60.37, 80.44, 50.31, 70.42,  //
                                  127.0, 85.39, 65.45, 75.33, 55.43, 95.36})
                          .view({2, 6})
                          .to(at::kFloat);
  const Layer layer = make_layer(int8(), weight, 0);
  const double optimum = brute_force(layer);
  for (const Learner* learner : kLearners) {
    LearnedSettings settings = settings_for(learner, 400);
    settings.subspace.min_k = 1;
    settings.schedule.kind = Schedule::kPlateau;  // slow enough for radam, which starts with small steps
    const Rounding result = learned_rounding(layer, settings);
    CAPTURE(learner->name, result.nearest_objective, result.objective_value, optimum);
    CHECK(result.objective_value >= optimum * 0.999 - 1e-8);
    CHECK(result.objective_value <= optimum + 0.1 * (result.nearest_objective - optimum));
  }
}

TEST_CASE("learned: weights without a choice", "[optimize]") {
  const Layer zero = make_layer(fp8(), at::zeros({16, 16}), 0);
  at::Tensor integers = at::arange(-127, 129).clamp_max(127).view({16, 16}).to(at::kFloat);
  integers.select(1, 0).fill_(127);  // so every row's scale is 1
  const Layer whole = make_layer(int8(), integers, 0);
  for (const Layer* layer : {&zero, &whole}) {
    const Rounding result = learned_rounding(*layer, settings_for(&kNormalisedGradient));
    CHECK(same(result.values, layer->nearest));
    CHECK(result.stopped_by == "nothing to gain");
    CHECK(result.objective_value == 0);
    CHECK_FALSE(result.guarded);
  }
}

TEST_CASE("learned: a single row or column", "[optimize]") {
  for (const auto& [rows, cols] : std::vector<std::pair<int64_t, int64_t>>{{1, 200}, {200, 1}, {1, 1}}) {
    for (const Learner* learner : kLearners) {
      CAPTURE(rows, cols, learner->name);
      const Rounding result =
          learned_rounding(make_layer(fp8(), normal(rows, cols, 4), 0), settings_for(learner, 50));
      CHECK(result.values.sizes() == at::IntArrayRef({rows, cols}));
      CHECK(result.objective_value <= result.nearest_objective);
      if (rows * cols > 1) CHECK(result.objective_value < 0.6 * result.nearest_objective);
    }
  }
}

TEST_CASE("learned: no iterations is round to nearest", "[optimize]") {
  const Layer layer = make_layer(fp8(), normal(32, 48), 0);
  const Rounding result = learned_rounding(layer, settings_for(&kAdamWSteps, 0));
  CHECK(same(result.values, layer.nearest));
  CHECK(result.objective_value == result.nearest_objective);
  CHECK(result.iterations == 0);
  CHECK(result.stopped_by == "iterations");
  CHECK_FALSE(result.guarded);
}

TEST_CASE("learned: what does not help is not kept", "[optimize]") {
  const Layer layer = make_layer(int8(), normal(64, 64), 0);
  LearnedSettings settings = settings_for(&kNormalisedGradient, 20);
  settings.lr = 100;  // to the ends of every cell
  const Rounding result = learned_rounding(layer, settings);
  CHECK(result.guarded);
  CHECK(same(result.values, layer.nearest));
  CHECK(result.objective_value == result.nearest_objective);
}

TEST_CASE("learned: the weight is not modified, and the same seed gives the same codes for any threads",
          "[optimize]") {
  const Layer layer = make_layer(fp8(), normal(300, 260), 0);
  const at::Tensor weight = layer.weight.clone(), nearest = layer.nearest.clone();
  const int threads = at::get_num_threads();
  for (const Learner* learner : kLearners) {
    CAPTURE(learner->name);
    LearnedSettings settings = settings_for(learner, 60);
    settings.subspace.full_svd = false;
    settings.subspace.seed = 5;
    at::set_num_threads(1);
    const at::Tensor one = learned_rounding(layer, settings).values;
    at::set_num_threads(3);
    const at::Tensor three = learned_rounding(layer, settings).values;
    at::set_num_threads(threads);
    CHECK(same(one, three));
    settings.subspace.seed = 6;
    CHECK_FALSE(same(one, learned_rounding(layer, settings).values));
  }
  CHECK(same(layer.weight, weight));
  CHECK(same(layer.nearest, nearest));
}

TEST_CASE("learned: every setting changes the trajectory", "[optimize]") {
  const Layer layer = make_layer(fp8(), normal(48, 96), 0);
  using Change = void (*)(LearnedSettings&);
  const auto differs = [&](Schedule kind, Change base, Change change) {
    LearnedSettings settings = settings_for(&kNormalisedGradient, 150);
    settings.schedule.kind = kind;
    base(settings);
    const at::Tensor before = learned_rounding(layer, settings).values;
    change(settings);
    return !same(before, learned_rounding(layer, settings).values);
  };
  const Change none = [](LearnedSettings&) {};
  CHECK(differs(Schedule::kAdaptive, none, [](LearnedSettings& s) { s.schedule.kind = Schedule::kPlateau; }));
  CHECK(differs(Schedule::kAdaptive, none,
                [](LearnedSettings& s) { s.schedule.kind = Schedule::kAdaptiveCosine; }));
  CHECK(differs(Schedule::kAdaptive, none,
                [](LearnedSettings& s) { s.schedule.kind = Schedule::kExponential; }));
  CHECK(differs(Schedule::kAdaptive, none, [](LearnedSettings& s) { s.schedule.threshold = 0.05; }));
  CHECK(differs(
      Schedule::kAdaptive, [](LearnedSettings& s) { s.schedule.threshold = 0.005; },
      [](LearnedSettings& s) { s.schedule.threshold_mode = ThresholdMode::kAbsolute; }));
  CHECK(differs(Schedule::kAdaptive, none, [](LearnedSettings& s) { s.lr = s.learner->usual_lr / 2; }));
  CHECK(differs(Schedule::kAdaptive, none, [](LearnedSettings& s) { s.subspace.min_k = 12; }));
  CHECK(differs(Schedule::kAdaptive, none, [](LearnedSettings& s) { s.subspace.max_k = 6; }));
  CHECK(differs(Schedule::kAdaptive, none, [](LearnedSettings& s) { s.subspace.top_p = 0.5; }));
  CHECK(differs(Schedule::kExponential, none, [](LearnedSettings& s) { s.schedule.gamma = 0.9; }));
  CHECK(differs(Schedule::kExponential, none, [](LearnedSettings& s) { s.schedule.lowest = 5e-3; }));
  CHECK(differs(Schedule::kPlateau, none, [](LearnedSettings& s) { s.schedule.patience = 1; }));
  CHECK(differs(Schedule::kPlateau, none, [](LearnedSettings& s) { s.schedule.factor = 0.5; }));
  CHECK(differs(Schedule::kPlateau, none, [](LearnedSettings& s) { s.schedule.cooldown = 30; }));
  CHECK(differs(Schedule::kPlateau, none, [](LearnedSettings& s) { s.schedule.shape_influence = 0; }));
  CHECK(differs(Schedule::kPlateau, none, [](LearnedSettings& s) { s.schedule.lowest = 7e-3; }));
  // They differ only after an improvement that 50 iterations without one came before.
  const Change long_run = [](LearnedSettings& s) { s.iterations = 1500; };
  CHECK(differs(Schedule::kAdaptive, long_run,
                [](LearnedSettings& s) { s.schedule.stall_reset = StallReset::kLate; }));
  CHECK(differs(
      Schedule::kAdaptive,
      [](LearnedSettings& s) {
        s.learner = &kProdigySteps;
        s.lr = 1;
      },
      [](LearnedSettings& s) { s.use_speed = true; }));
}

TEST_CASE("learned: a deadline ends it with the best so far, one that is not reached changes nothing",
          "[optimize]") {
  const Layer layer = make_layer(fp8(), normal(48, 64), 0);
  const auto now = std::chrono::steady_clock::now();
  for (const Learner* learner : {&kAdamWSteps, &kLineSearch}) {
    CAPTURE(learner->name);
    LearnedSettings settings = settings_for(learner, 40);
    const Rounding without = learned_rounding(layer, settings);
    settings.deadline = now + std::chrono::hours(1);
    const Rounding in_time = learned_rounding(layer, settings);
    CHECK(same(in_time.values, without.values));
    CHECK(in_time.stopped_by == without.stopped_by);
    settings.deadline = now;
    const Rounding late = learned_rounding(layer, settings);
    CHECK(late.stopped_by == "time");
    CHECK(late.iterations == 0);
    CHECK(same(late.values, layer.nearest));
    settings.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
    settings.iterations = 100'000'000;
    settings.stop = {.loss = 0, .lr = 0, .stall = 100'000'000};
    const Rounding cut = learned_rounding(layer, settings);
    CHECK(cut.objective_value <= cut.nearest_objective);
    if (learner == &kAdamWSteps) CHECK(cut.stopped_by == "time");
  }
}

TEST_CASE("learned: why it stopped", "[optimize]") {
  const Layer layer = make_layer(fp8(), normal(48, 64), 0);
  LearnedSettings settings = settings_for(&kAdamWSteps, 100);
  Rounding result = learned_rounding(layer, settings);
  CHECK(result.stopped_by == "iterations");
  CHECK(result.iterations == 100);

  settings.stop.loss = result.nearest_objective * 0.8;
  result = learned_rounding(layer, settings);
  CHECK(result.stopped_by == "loss");
  CHECK(result.iterations < 100);
  CHECK(result.objective_value <= settings.stop.loss);

  settings.stop = {.loss = 0, .lr = 0, .stall = 5};
  settings.iterations = 1000;
  CHECK(learned_rounding(layer, settings).stopped_by == "stall");

  settings.stop = {.loss = 0, .lr = 4e-3, .stall = 1000};
  settings.schedule.kind = Schedule::kExponential;
  result = learned_rounding(layer, settings);
  CHECK(result.stopped_by == "learning rate");
  CHECK(result.iterations == 79);  // 8.0773e-3 * 0.99^70 < 4e-3, noticed with the reading of 16 * 5 losses
}

}  // namespace
}  // namespace ctq::optimize
