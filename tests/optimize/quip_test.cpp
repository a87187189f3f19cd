#include "optimize/quip.h"

#include <catch2/catch.hpp>

#include <ATen/ATen.h>

#include "linalg/device.h"
#include "linalg/objective.h"
#include "optimize/layers.h"
#include "optimize/optimizer.h"

namespace ctq::optimize {
namespace {

using test::correlated;
using test::seeded_weight;

TEST_CASE("incoherence: an orthogonal change of basis, of any size, that is undone", "[optimize]") {
  const int64_t size = GENERATE(1, 2, 7, 12, 64, 128, 384);
  const bool hadamard = GENERATE(true, false);
  CAPTURE(size, hadamard);
  const Incoherence basis(size, 3, hadamard, at::kCPU);
  const at::Tensor x = seeded_weight(10, size), y = basis.forward(x);
  CHECK(at::allclose(basis.backward(y), x, 1e-4, 1e-6));
  CHECK(at::allclose(y.mm(y.t()), x.mm(x.t()), 1e-3, 1e-5));
  CHECK(at::equal(Incoherence(size, 3, hadamard, at::kCPU).forward(x), y));
  if (size >= 12) CHECK_FALSE(at::allclose(Incoherence(size, 4, hadamard, at::kCPU).forward(x), y));
}

TEST_CASE("incoherence: a value that stands out is spread", "[optimize]") {
  at::Tensor x = at::zeros({1, 384});
  x[0][17] = 1;
  CHECK(Incoherence(384, 0, true, at::kCPU).forward(x).abs().max().item<float>() < 0.15f);
}

TEST_CASE("quip: in segments of columns no worse than round to nearest", "[optimize]") {
  const format::Codec& codec = *format::find_codec("int8_tensorwise", format::Granularity::kRow);
  const Layer layer = make_layer(codec, seeded_weight(64, 128), 0);
  Settings settings;
  settings.optimizer = &kQuip;
  settings.segments = 4;
  settings.segments_from = GENERATE(128, 129);
  const SecondMoment moment{
      .h = correlated(128), .lambda = 0.03, .sweeps = 0, .origin = Origin::kRecordedRows};
  const Rounding rounding = kQuip.round(layer, settings, &moment);
  CHECK(rounding.objective_value < 0.7 * rounding.nearest_objective);
  settings.segments = 1;
  const bool same = at::equal(kQuip.round(layer, settings, &moment).values, rounding.values);
  CHECK(same == (settings.segments_from > 128));  // narrower than the threshold
}

TEST_CASE("quip: never worse than the same pass without it, on every format", "[optimize]") {
  const at::Tensor h = correlated(128);
  for (const format::Codec& codec : format::registry()) {
    INFO(codec.label());
    const Layer layer = make_layer(codec, seeded_weight(64, 128), codec.has_blocks() ? 32 : 0);
    const OnePassSettings settings{.lambda = 0.03, .order = linalg::ColumnOrder::kActOrder};
    const Rounding plain = round_with_second_moment(layer, h, settings, "gptq");
    const Rounding quip = round_with_incoherence(layer, h, {.one_pass = settings});
    CHECK(quip.objective_value <= plain.objective_value * (1 + 1e-6));
    CHECK(at::equal(layer.grid->nearest(quip.values), quip.values));
    // The figure is that of what is returned.
    at::Tensor damped = h.clone();
    damped.diagonal().add_(0.03 * h.diagonal().mean());
    const double cost =
        linalg::objective_rows(error_of(layer, quip.values, quip.scale), damped).sum().item<double>();
    CHECK(quip.objective_value == Approx(cost / (layer.weight.square().sum().item<double>() *
                                                 damped.diagonal().mean().item<double>()))
                                      .epsilon(1e-3));
  }
}

TEST_CASE("quip: the same bits for any number of threads, other bits for another seed", "[optimize]") {
  const format::Codec& codec = *format::find_codec("int8_tensorwise", format::Granularity::kRow);
  const Layer layer = make_layer(codec, seeded_weight(600, 128), 0);
  const auto values = [&](int threads) {
    linalg::set_threads(threads);
    return round_with_incoherence(layer, correlated(128), {.one_pass = {.lambda = 0.03, .sweeps = 1}}).values;
  };
  const at::Tensor one = values(1);
  for (const int threads : {2, 7}) CHECK(at::equal(values(threads), one));
  linalg::set_threads(linalg::available_cores());
}

}  // namespace
}  // namespace ctq::optimize
