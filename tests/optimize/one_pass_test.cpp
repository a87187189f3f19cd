#include "optimize/one_pass.h"

#include <ATen/ATen.h>
#include <catch2/catch.hpp>

#include "linalg/device.h"
#include "linalg/objective.h"
#include "optimize/layers.h"
#include "optimize/optimizer.h"

using namespace ctq;
using namespace ctq::optimize;

using test::correlated;
using test::seeded_weight;

TEST_CASE("one pass: never worse than round to nearest in its own objective, on every codec", "[optimize]") {
  const at::Tensor weight = seeded_weight(64, 128);
  for (const format::Codec& codec : format::registry()) {
    INFO(codec.label());
    const Layer layer = make_layer(codec, weight, codec.has_blocks() ? 32 : 0);
    for (const int64_t sweeps : {0, 2}) {
      const Rounding rounding =
          round_with_second_moment(layer, correlated(128), {.lambda = 0.03, .sweeps = sweeps}, "test");
      CHECK(rounding.objective_value < rounding.nearest_objective);
      CHECK_FALSE(rounding.guarded);
      CHECK(at::equal(layer.grid->nearest(rounding.values), rounding.values));
    }
  }
}

TEST_CASE("one pass: under a diagonal nothing is better than round to nearest but other scales",
          "[optimize]") {
  const at::Tensor weight = seeded_weight(64, 128);
  at::manual_seed(14);
  const linalg::Moment diagonal(at::rand({128}) + 0.1, at::zeros({1, 128}));
  const int64_t sweeps = GENERATE(0, 2);
  for (const format::Codec& codec : format::registry()) {
    INFO(codec.label() << " " << sweeps);
    const Layer layer = make_layer(codec, weight, codec.has_blocks() ? 32 : 0);
    const OnePassSettings settings{.lambda = 0.03, .sweeps = sweeps};
    const Rounding rounding = round_with_second_moment(layer, diagonal, settings, "test"),
                   matrix = round_with_second_moment(layer, diagonal.matrix(), settings, "test");
    CHECK(rounding.guarded);
    CHECK(matrix.guarded);
    CHECK(at::equal(rounding.values, layer.nearest));
    CHECK(rounding.nearest_objective == Approx(matrix.nearest_objective).epsilon(1e-4));
    CHECK(rounding.objective_value == rounding.nearest_objective);
    const Rounding searched = round_with_second_moment(
        layer, diagonal, {.lambda = 0.03, .sweeps = sweeps, .scales = Scales::kSearch}, "test");
    CHECK(searched.objective_value <= searched.nearest_objective);
  }
}

TEST_CASE("one pass: under D + X^T X as under the matrix it stands for, on every codec", "[optimize]") {
  const at::Tensor weight = seeded_weight(64, 640);
  at::manual_seed(13);
  const at::Tensor rest = at::rand({640}) + 0.1, rows = at::randn({20, 640});
  const linalg::Moment samples(rest, rows);
  const int64_t sweeps = GENERATE(0, 2);
  const auto scales = GENERATE(Scales::kAbsmax, Scales::kSearch, Scales::kRefit);
  for (const format::Codec& codec : format::registry()) {
    INFO(codec.label() << " " << sweeps << " sweeps, scales " << static_cast<int>(scales));
    const Layer layer = make_layer(codec, weight, codec.has_blocks() ? 32 : 0);
    const OnePassSettings settings{
        .lambda = 0.03, .sweeps = sweeps, .scales = scales, .order = linalg::ColumnOrder::kActOrder};
    const Rounding rounding = round_with_second_moment(layer, samples, settings, "test");
    const Rounding matrix = round_with_second_moment(layer, samples.matrix(), settings, "test");
    CHECK_FALSE(rounding.guarded);
    CHECK(at::equal(layer.grid->nearest(rounding.values), rounding.values));
    CHECK(rounding.nearest_objective == Approx(matrix.nearest_objective).epsilon(1e-4));
    CHECK(rounding.objective_value == Approx(matrix.objective_value).epsilon(3e-3));
    const at::Tensor damped = samples.shifted(samples.diagonal().mean() * 0.03).matrix();
    const double cost =
        linalg::objective_rows(error_of(layer, rounding.values, rounding.scale), damped).sum().item<double>();
    CHECK(rounding.objective_value == Approx(cost / (layer.weight.square().sum().item<double>() *
                                                     damped.diagonal().mean().item<double>()))
                                          .epsilon(1e-3));
  }
}

TEST_CASE("one pass: the second moment made of a wide weight keeps its diagonal and what leads",
          "[optimize]") {
  at::manual_seed(14);
  const at::Tensor leading = at::randn({300, 5}).mm(at::randn({5, 1200}));
  const at::Tensor weight = leading + at::randn({300, 1200}) * (at::rand({1200}) + 0.2);
  const at::Tensor h = weight.t().mm(weight);
  const at::Tensor exact = h / h.diagonal().mean() + 4 * at::eye(1200);
  const linalg::Moment made = direct_second_moment(weight, {});
  REQUIRE_FALSE(made.is_matrix());
  CHECK(made.rows().size(0) == direct_rank(1200));
  CHECK(at::allclose(made.diagonal(), exact.diagonal(), 1e-4));
  const at::Tensor v = std::get<1>(at::linalg_eigh(h)).narrow(1, 1195, 5);
  CHECK(at::allclose(v.t().mm(made.matrix().mm(v)).diagonal(), v.t().mm(exact.mm(v)).diagonal(), 1e-2));
  // Few rows are taken as they are.
  const at::Tensor few = weight.narrow(0, 0, 30), of_few = few.t().mm(few);
  CHECK(at::allclose(direct_second_moment(few.to(at::kBFloat16), {}).matrix(),
                     of_few / of_few.diagonal().mean() + 4 * at::eye(1200), 2e-2, 2e-2));
  CHECK(direct_second_moment(weight.narrow(1, 0, 1000), {}).is_matrix());
}

TEST_CASE("one pass: in segments of columns, on every codec", "[optimize]") {
  const at::Tensor weight = seeded_weight(64, 128), h = correlated(128);
  at::Tensor damped = h.clone();
  damped.diagonal().add_(0.03 * h.diagonal().mean());
  const int64_t sweeps = GENERATE(0, 3), segments = GENERATE(2, 3, 500);
  for (const format::Codec& codec : format::registry()) {
    INFO(codec.label() << " " << sweeps << " sweeps " << segments << " segments");
    const Layer layer = make_layer(codec, weight, codec.has_blocks() ? 32 : 0);
    const OnePassSettings whole{.lambda = 0.03, .sweeps = sweeps, .order = linalg::ColumnOrder::kActOrder};
    OnePassSettings settings = whole;
    settings.segments = segments;
    const Rounding rounding = round_with_second_moment(layer, h, settings, "test");
    const Rounding at_once = round_with_second_moment(layer, h, whole, "test");
    CHECK_FALSE(rounding.guarded);
    CHECK(at::equal(layer.grid->nearest(rounding.values), rounding.values));
    // Half of what the whole pass gains, with sweeps nearly all.
    const double share = sweeps > 0 ? 0.9 : 0.5;
    CHECK(rounding.nearest_objective - rounding.objective_value >
          share * (at_once.nearest_objective - at_once.objective_value));
    // The figure is that of what is returned, under all of H.
    const double cost =
        linalg::objective_rows(error_of(layer, rounding.values, rounding.scale), damped).sum().item<double>();
    CHECK(rounding.objective_value == Approx(cost / (layer.weight.square().sum().item<double>() *
                                                     damped.diagonal().mean().item<double>()))
                                          .epsilon(1e-3));
  }
}

TEST_CASE("one pass: segments whose inputs are independent are the whole pass", "[optimize]") {
  const at::Tensor h = at::zeros({96, 96});
  for (int64_t i = 0; i < 96; i += 32) h.narrow(0, i, 32).narrow(1, i, 32).copy_(correlated(32));
  const format::Codec& codec = *format::find_codec("int8_tensorwise", format::Granularity::kRow);
  const Layer layer = make_layer(codec, seeded_weight(600, 96), 0);
  OnePassSettings settings{.lambda = 0.03, .sweeps = GENERATE(0, 1)};
  const at::Tensor whole = round_with_second_moment(layer, h, settings, "test").values;
  settings.segments = 3;
  const auto in_segments = [&](int threads) {
    linalg::set_threads(threads);
    return round_with_second_moment(layer, h, settings, "test").values;
  };
  const at::Tensor one = in_segments(1);
  // A value that lies half way may fall to either side.
  CHECK((one != whole).sum().item<int64_t>() < 10);
  for (const int threads : {2, 7}) CHECK(at::equal(in_segments(threads), one));
  linalg::set_threads(linalg::available_cores());
}

TEST_CASE("one pass: the codes that are stored decode to the values that were chosen", "[optimize]") {
  const at::Tensor weight = seeded_weight(64, 128);
  for (const format::Codec& codec : format::registry()) {
    const int64_t block = codec.has_blocks() ? 32 : 0;
    const Layer layer = make_layer(codec, weight, block);
    const Rounding rounding = round_layer(layer, {.optimizer = &kDirect, .direct = {}}, std::nullopt);
    const format::Encoded encoded = encode(*format::encode_nearest(codec, weight, block), rounding);
    CHECK(at::allclose(format::decode(encoded) - weight, error_of(layer, rounding.values), 1e-6, 1e-7));
  }
}

TEST_CASE("one pass: a diagonal second moment gives round to nearest", "[optimize]") {
  const format::Codec& codec = *format::find_codec("int8_tensorwise", format::Granularity::kRow);
  const Layer layer = make_layer(codec, seeded_weight(16, 40), 0);
  const Rounding rounding = round_with_second_moment(layer, at::eye(40), {}, "test");
  CHECK(rounding.guarded);
  CHECK(at::equal(rounding.values, layer.nearest));
}

TEST_CASE("one pass: an all-zero weight stays zero", "[optimize]") {
  const format::Codec& codec = *format::find_codec("float8_e4m3fn", format::Granularity::kTensor);
  const Layer layer = make_layer(codec, at::zeros({8, 16}), 0);
  for (const auto objective : {DirectObjective::kMixed, DirectObjective::kSubspace}) {
    Settings settings;
    settings.optimizer = &kDirect;
    settings.direct.objective = objective;
    settings.direct.subspace.full_svd = true;
    CHECK(round_layer(layer, settings, std::nullopt).values.abs().max().item<float>() == 0);
  }
}

TEST_CASE(
    "direct: the subspace objective has the smaller error in the leading directions, the mixed one the "
    "smaller error",
    "[optimize]") {
  const format::Codec& codec = *format::find_codec("float8_e4m3fn", format::Granularity::kTensor);
  at::manual_seed(5);
  const at::Tensor weight =
      at::matmul(at::randn({128, 24}), at::randn({24, 128})) * 0.01 + at::randn({128, 128}) * 0.01;
  const Layer layer = make_layer(codec, weight, 0);
  Settings settings;
  settings.optimizer = &kDirect;
  settings.direct.subspace.min_k = 16;
  const at::Tensor mixed = error_of(layer, round_layer(layer, settings, std::nullopt).values);
  settings.direct.objective = DirectObjective::kSubspace;
  const at::Tensor subspace = error_of(layer, round_layer(layer, settings, std::nullopt).values);
  const auto svd = at::linalg_svd(weight, /*full_matrices=*/false);
  const at::Tensor v = std::get<2>(svd).slice(0, 0, 16).t();
  CHECK(at::matmul(subspace, v).norm().item<double>() < at::matmul(mixed, v).norm().item<double>());
  CHECK(mixed.norm().item<double>() < subspace.norm().item<double>());
}

TEST_CASE("implied: a layer without an implied moment is rounded by direct", "[optimize]") {
  const format::Codec& codec = *format::find_codec("int8_tensorwise", format::Granularity::kRow);
  const Layer layer = make_layer(codec, seeded_weight(32, 48), 0);
  Settings settings;
  settings.optimizer = &kImplied;
  CHECK(round_layer(layer, settings, std::nullopt).method == "direct");
  CHECK(round_layer(layer, settings, KnownMoment{.h = correlated(48)}).method == "implied");
}
