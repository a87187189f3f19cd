// The same on a GPU as on the CPU. CTQ_TEST_GPU names one, such as cuda:1 (default: cuda). Without one these
// tests are skipped; ctest also runs them on the pretend device of tests/gpu.
#include <cstdlib>
#include <optional>
#include <string>

#include <ATen/ATen.h>
#include <catch2/catch.hpp>

#include "base/error.h"
#include "linalg/coordinate_descent.h"
#include "linalg/device.h"
#include "linalg/differences.h"
#include "linalg/hadamard.h"
#include "linalg/ldlq.h"
#include "linalg/objective.h"
#include "linalg/sample_space.h"
#include "linalg/scale_search.h"
#include "linalg/solver_inputs.h"

namespace ctq::linalg {
namespace {

/// Nothing where this machine has no working GPU.
std::optional<at::Device> gpu() {
  const char* name = std::getenv("CTQ_TEST_GPU");
  try {
    return open_device(name ? name : "cuda");
  } catch (const Error& error) {
    WARN("[skipped] " << error.what());
    return std::nullopt;
  }
}

FeedbackFactor on(at::Device device, FeedbackFactor factor) {
  for (at::Tensor FeedbackFactor::*part :
       {&FeedbackFactor::feedback, &FeedbackFactor::pivots, &FeedbackFactor::order, &FeedbackFactor::dead})
    if ((factor.*part).defined()) factor.*part = (factor.*part).to(device);
  return factor;
}

Moment on(at::Device device, const Moment& h) {
  if (h.is_matrix()) return h.matrix().to(device);
  return {h.rest().values().to(device), h.rows().to(device)};
}

double same_part(const at::Tensor& there, const at::Tensor& here) {
  return (there.cpu() == here).to(at::kDouble).mean().item<double>();
}

// One block: nothing but our own kernel sums. More: cuBLAS sums in another order, and a few ties turn.
constexpr double kFewTurn = 0.995;

}  // namespace

TEST_CASE("a GPU rounds and sweeps as the CPU does", "[linalg][gpu][cuda]") {
  const auto device = gpu();
  if (!device) return;
  const int64_t columns = GENERATE(1, 100, 128, 700);
  const at::Tensor w = test::normal({77, columns}, 1, at::kFloat);
  const at::Tensor h = test::second_moment(columns, 2 * columns + 5, 2).to(at::kFloat);
  for (const ColumnOrder order : {ColumnOrder::kNatural, ColumnOrder::kActOrder}) {
    const FeedbackFactor factor = damped_factor(h, 0.02, order);
    REQUIRE(factor.ok);
    for (const Code code :
         {Code::kInt8, Code::kE4M3, Code::kE5M2, Code::kE2M1, Code::kInt4, Code::kNibble, Code::kLevel16}) {
      CAPTURE(columns, static_cast<int>(order), code_row(code).name);
      const Tiling tiling{.rows = 1, .cols = columns};
      const at::Tensor scale = test::absmax_scale(w, tiling, code) * 2;
      at::Tensor cost, cost_there;
      const at::Tensor here = ldlq_round(w, factor, tiling, code, scale, &cost);
      const at::Tensor there =
          ldlq_round(w.to(*device), on(*device, factor), tiling, code, scale.to(*device), &cost_there);
      CHECK(same_part(there, here) >= (columns <= 128 ? 1 : kFewTurn));
      CHECK(at::allclose(cost_there.cpu().sum(), cost.sum(), 1e-2));
      const at::Tensor swept = coordinate_descent(here, w, h, tiling, code, scale, 2);
      const at::Tensor swept_there = coordinate_descent(here.to(*device), w.to(*device), h.to(*device),
                                                        tiling, code, scale.to(*device), 2);
      CHECK(same_part(swept_there, swept) >= kFewTurn);
    }
  }
}

TEST_CASE("a GPU rounds in the space of samples as the CPU does", "[linalg][gpu][cuda]") {
  const auto device = gpu();
  if (!device) return;
  const at::Tensor w = test::normal({40, 1300}, 1, at::kFloat);
  const Moment h(test::normal({1300}, 3, at::kFloat).abs() + 0.1, test::normal({60, 1300}, 4, at::kFloat));
  const Tiling tiling{.rows = 1, .cols = 1300};
  const at::Tensor scale = test::absmax_scale(w, tiling, Code::kInt8) * 9;
  const SampleFactor factor = sample_factor(h, 0.03), there_factor = sample_factor(on(*device, h), 0.03);
  REQUIRE(factor.ok);
  REQUIRE(there_factor.ok);
  CHECK(there_factor.lambda == factor.lambda);
  const at::Tensor here = ldlq_round(w, factor, tiling, Code::kInt8, scale);
  const at::Tensor there = ldlq_round(w.to(*device), there_factor, tiling, Code::kInt8, scale.to(*device));
  CHECK(same_part(there, here) >= kFewTurn);
  const auto objective = [&](const at::Tensor& values) {
    return objective_rows(values.cpu() * scale - w, h).sum().item<double>();
  };
  CHECK(objective(there) == Approx(objective(here)).epsilon(1e-3));
  at::Tensor cost;
  const at::Tensor swept = CoordinateDescent(on(*device, h))
                               .swept(there, w.to(*device), tiling, Code::kInt8, scale.to(*device), 2, &cost);
  CHECK(objective(swept) <= objective(there));
  CHECK(cost.sum().item<double>() == Approx(objective(swept)).epsilon(1e-3));
  // A second moment that cannot be factored is told, not used.
  const Moment broken(at::full({1300}, -1.0f), at::zeros({3, 1300}));
  CHECK_FALSE(sample_factor(on(*device, broken), 0).ok);
}

TEST_CASE("a GPU searches scales as the CPU does", "[linalg][gpu][cuda]") {
  const auto device = gpu();
  if (!device) return;
  const int64_t run = GENERATE(16, 32, 128);
  const bool samples = GENERATE(false, true);
  const at::Tensor w = test::normal({50, 300}, 1, at::kFloat);
  const at::Tensor x = test::normal({9, 300}, 2, at::kFloat);
  const Moment h =
      samples ? Moment(at::full({300}, 0.5f), x) : Moment(test::second_moment(300, 400, 2).to(at::kFloat));
  const at::Tensor absmax = test::absmax_scale(w, {1, run}, Code::kE2M1);
  const at::Tensor tried = at::stack({absmax, absmax * 0.8, absmax * 1.2, absmax * 0});
  if (!searches_runs(w.to(*device), run)) {
    WARN("[skipped] the GPU's kernels were not built");
    return;
  }
  const SearchedScales here = search_scales(w, run, Code::kE2M1, tried, h);
  const SearchedScales there =
      search_scales(w.to(*device), run, Code::kE2M1, tried.to(*device), on(*device, h));
  CHECK(same_part(there.scale, here.scale) >= (samples ? kFewTurn : 1));
  CHECK(same_part(there.values, here.values) >= (samples ? kFewTurn : 1));
}

TEST_CASE("a GPU gives the CPU's codes, values and halves of bytes", "[linalg][gpu][cuda]") {
  const auto device = gpu();
  if (!device) return;
  const auto tiling = GENERATE(values<Tiling>({{70, 300}, {1, 300}, {32, 32}, {1, 64}, {1, 16}}));
  const auto type = GENERATE(at::kFloat, at::kBFloat16, at::kHalf, at::kDouble);
  const at::Tensor w = test::normal({70, 300}, 5).to(type);
  CHECK(at::equal(tile_amax(w.to(*device), tiling).cpu(), tile_amax(w, tiling)));
  CHECK(extent(w.to(*device)).amax == extent(w).amax);
  at::Tensor bad = w.clone();
  bad[3][4] = std::numeric_limits<double>::infinity();
  CHECK(extent(bad.to(*device)).inf_count == 1);
  for (const Code code :
       {Code::kInt8, Code::kE4M3, Code::kE5M2, Code::kE2M1, Code::kInt4, Code::kNibble, Code::kLevel16}) {
    const at::Tensor factor = test::absmax_scale(w, tiling, code);
    const at::Tensor here = encode_tiles(w, tiling, code, /*divide=*/true, factor);
    const at::Tensor there = encode_tiles(w.to(*device), tiling, code, /*divide=*/true, factor.to(*device));
    CAPTURE(code_row(code).name, static_cast<int>(type), tiling.rows, tiling.cols);
    CHECK(at::equal(there.cpu().view(at::kByte), here.view(at::kByte)));
    const at::Tensor values = decode_tiles(here, code, tiling, factor);
    CHECK(at::equal(decode_tiles(there, code, tiling, factor.to(*device)).cpu(), values));
    if (code_row(code).bits == 4) CHECK(at::equal(pack_nibbles(there, true).cpu(), pack_nibbles(here, true)));
    double errors = 0;
    int64_t numel = 0;
    for (const DifferenceSums& part : difference_sums(w.to(*device), values.to(*device))) {
      errors += part.error_squares;
      numel += part.numel;
    }
    CHECK(numel == w.numel());
    CHECK(errors == Approx((values.to(at::kDouble) - w.to(at::kDouble)).square().sum().item<double>()));
  }
}

TEST_CASE("a GPU rotates as the CPU does, bit for bit", "[linalg][gpu][cuda]") {
  const auto device = gpu();
  if (!device) return;
  const at::Tensor w = test::normal({5, 16384}, 6, at::kFloat);
  for (const int64_t group : {4, 16, 64, 256, 1024, 4096, 16384})
    CHECK(at::equal(rotate_columns(w.to(*device), group).cpu(), rotate_columns(w, group)));
  for (const int64_t dim : {1, 0}) {
    const at::Tensor x = w.narrow(0, 0, 4);
    CHECK(at::equal(walsh_hadamard(x.to(*device), dim).cpu(), walsh_hadamard(x, dim)));
  }
}

}  // namespace ctq::linalg
