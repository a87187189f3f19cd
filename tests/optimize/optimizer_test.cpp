// What holds for every optimizer, on every format.
#include "optimize/optimizer.h"

#include <chrono>

#include <catch2/catch.hpp>

#include <ATen/ATen.h>

#include "linalg/objective.h"
#include "optimize/layers.h"

namespace ctq::optimize {
namespace {

using test::correlated;
using test::seeded_weight;

constexpr std::array kMethods = {&kNearest, &kOriginal, &kAdamW, &kRAdam, &kProdigy, &kTpec,
                                 &kDirect,  &kImplied,  &kGptq,  &kAuto,  &kAdaRound};

Settings quick(const Optimizer* optimizer) {
  Settings settings;
  settings.optimizer = optimizer;
  settings.learned.iterations = settings.adaround.iterations = 40;
  settings.learned.subspace.min_k = settings.direct.subspace.min_k = 8;
  return settings;
}

TEST_CASE("optimizer: names are those of the command line, both ways", "[optimize]") {
  for (const Optimizer* optimizer : optimizers()) CHECK(find_optimizer(optimizer->name) == optimizer);
  CHECK_FALSE(find_optimizer("sgd"));
  CHECK_FALSE(find_optimizer(""));
}

TEST_CASE("optimizer: never worse than round to nearest in its own objective, on every format",
          "[optimize]") {
  const at::Tensor h = correlated(128);
  const auto scales = GENERATE(Scales::kAbsmax, Scales::kSearch, Scales::kRefit, Scales::kByFormat);
  const int64_t sweeps = GENERATE(0, 2);
  for (const format::Codec& codec : format::registry()) {
    const int64_t block = codec.has_blocks() ? 32 : 0;
    const Layer layer = make_layer(codec, seeded_weight(64, 128), block);
    for (const Optimizer* optimizer : kMethods) {
      if (optimizer->learner && (sweeps > 0 || scales != Scales::kAbsmax)) continue;  // read by others only
      Settings settings = quick(optimizer);
      settings.scales = scales;
      settings.sweeps = settings.direct_sweeps = sweeps;
      INFO(codec.label() << " " << optimizer->name);
      const Rounding rounding = round_layer(layer, settings, KnownMoment{.h = h});
      CHECK(rounding.objective_value <= rounding.nearest_objective);
      CHECK(rounding.guarded ==
            (rounding.objective_value == rounding.nearest_objective && rounding.nearest_objective > 0));
      CHECK(at::equal(layer.grid->nearest(rounding.values), rounding.values));
      CHECK(rounding.scale.sizes() == layer.scale.sizes());
      const format::Encoded encoded =
          encode(*format::encode_nearest(codec, seeded_weight(64, 128), block), rounding);
      CHECK(at::allclose(format::decode(encoded) - seeded_weight(64, 128),
                         error_of(layer, rounding.values, rounding.scale), 1e-5, 1e-7));
      if (!optimizer->needs.implied) continue;
      // The figure it reports is the figure of what it returns.
      at::Tensor damped = h.clone();
      damped.diagonal().add_(h.diagonal().mean());
      const auto cost = [&](const at::Tensor& e) {
        return linalg::objective_rows(e, damped).sum().item<double>();
      };
      CHECK(rounding.objective_value ==
            Approx(cost(format::decode(encoded) - seeded_weight(64, 128)) /
                   (layer.weight.square().sum().item<double>() * damped.diagonal().mean().item<double>()))
                .epsilon(1e-4));
    }
  }
}

TEST_CASE("optimizer: rows that share no scale are guarded one by one", "[optimize]") {
  // Half of the rows lie on the grid: any change makes them worse.
  const format::Codec& codec = *format::find_codec("int8_tensorwise", format::Granularity::kRow);
  at::Tensor weight = seeded_weight(64, 128);
  at::Tensor exact = weight.narrow(0, 0, 32);
  const at::Tensor step = exact.abs().amax(1, true) / 127;
  exact.copy_((exact / step).round() * step);
  const Layer layer = make_layer(codec, weight, 0);
  const Rounding rounding = round_layer(layer, quick(&kAuto), KnownMoment{.h = correlated(128)});
  CHECK(rounding.objective_value < rounding.nearest_objective);
  CHECK(at::equal(rounding.values.narrow(0, 0, 32), layer.nearest.narrow(0, 0, 32)));
}

TEST_CASE("optimizer: better scales lower the objective further", "[optimize]") {
  const format::Codec& codec = *format::find_codec("float8_e4m3fn", format::Granularity::kTensor);
  const Layer layer = make_layer(codec, seeded_weight(64, 128), 0);
  Settings settings = quick(&kAuto);
  const double absmax = round_layer(layer, settings, KnownMoment{.h = correlated(128)}).objective_value;
  settings.scales = Scales::kSearch;
  const double searched = round_layer(layer, settings, KnownMoment{.h = correlated(128)}).objective_value;
  settings.scales = Scales::kRefit;
  const double refitted = round_layer(layer, settings, KnownMoment{.h = correlated(128)}).objective_value;
  CHECK(searched <= absmax);
  CHECK(refitted < absmax);
}

TEST_CASE("optimizer: a deadline ends what iterates, and nothing else", "[optimize]") {
  const Layer layer = make_layer(*format::find_codec("int8_tensorwise", format::Granularity::kRow),
                                 seeded_weight(64, 128), 0);
  for (const Optimizer* optimizer : kMethods) {
    INFO(optimizer->name);
    Settings settings = quick(optimizer);
    const Rounding without = round_layer(layer, settings, KnownMoment{.h = correlated(128)});
    set_deadline(settings, std::chrono::steady_clock::now() + std::chrono::hours(1));
    const Rounding in_time = round_layer(layer, settings, KnownMoment{.h = correlated(128)});
    CHECK(at::equal(in_time.values, without.values));
    CHECK(in_time.stopped_by == without.stopped_by);
    set_deadline(settings, std::chrono::steady_clock::now());
    const Rounding late = round_layer(layer, settings, KnownMoment{.h = correlated(128)});
    CHECK((late.stopped_by == "time") == optimizer->heeds_deadline);
    CHECK(at::equal(late.values, optimizer->heeds_deadline ? layer.nearest : without.values));
  }
}

}  // namespace
}  // namespace ctq::optimize
