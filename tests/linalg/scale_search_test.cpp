#include "linalg/scale_search.h"

#include <catch2/catch.hpp>

#include "linalg/golden.h"
#include "linalg/kernels/cpu/ldlq_kernels.h"
#include "linalg/kernels/cpu/tile_kernels.h"
#include "linalg/nearest.h"
#include "linalg/reference.h"
#include "linalg/solver_inputs.h"

namespace ctq::linalg {
namespace {

/// e M e^T of a run's rows in float64, and the values.
struct Outcome {
  at::Tensor cost;    ///< [rows]
  at::Tensor values;  ///< [rows, columns]
};

Outcome outcome(const at::Tensor& weight, const at::Tensor& scale, const at::Tensor& metric, Code code) {
  const at::Tensor values = nearest(at::where(scale > 0, weight / scale, 0), code);
  const at::Tensor e = (values * scale - weight).to(at::kDouble);
  return {(e.mm(metric) * e).sum(1), values};
}

TEST_CASE("scale search: takes the scale of least cost, and its values", "[linalg]") {
  for (Code code : test::kAllCodes) {
    for (int64_t run : {1, 5, 16, 32, 128}) {
      for (const bool weighted : {false, true}) {
        CAPTURE(static_cast<int>(code), run, weighted);
        const int64_t rows = 21, columns = 2 * run + (run + 1) / 2, across = 3;
        const at::Tensor w = test::normal({rows, columns}, 1, at::kFloat);
        const at::Tensor h =
            weighted ? test::second_moment(columns, 2 * columns, 2).to(at::kFloat) : at::Tensor();
        const at::Tensor absmax = test::absmax_scale(w, {1, run}, code);
        std::vector<at::Tensor> tried;
        for (double factor : {1.0, 0.6, 0.8, 1.3, 0.0}) tried.push_back(absmax * factor);
        const SearchedScales found = search_scales(w, run, code, at::stack(tried), h);
        REQUIRE(found.scale.sizes() == at::IntArrayRef({rows, across}));
        for (int64_t i = 0; i < across; ++i) {
          const int64_t begin = i * run, width = std::min(run, columns - begin);
          const at::Tensor metric = weighted
                                        ? h.narrow(0, begin, width).narrow(1, begin, width).to(at::kDouble)
                                        : at::eye(width, at::kDouble);
          const at::Tensor part = w.narrow(1, begin, width), scale = found.scale.narrow(1, i, 1);
          const Outcome chosen = outcome(part, scale, metric, code);
          CHECK(at::equal(chosen.values, found.values.narrow(1, begin, width)));
          at::Tensor least = at::full({rows}, 1e300, at::kDouble),
                     is_candidate = at::zeros({rows, 1}, at::kBool);
          for (const at::Tensor& candidate : tried) {
            least = at::minimum(least, outcome(part, candidate.narrow(1, i, 1), metric, code).cost);
            is_candidate.logical_or_(candidate.narrow(1, i, 1) == scale);
          }
          CHECK(is_candidate.all().item<bool>());
          CHECK((chosen.cost <= least * 1.001 + 1e-6).all().item<bool>());
        }
      }
    }
  }
}

TEST_CASE("scale search: of equally good scales the first, 0 only where nothing is better", "[linalg]") {
  const at::Tensor w = at::full({17, 4}, 2.0f), ones = at::ones({1, 17, 1});
  const SearchedScales exact = search_scales(w, 4, Code::kInt8, at::cat({ones * 0.5, ones, ones * 2}), {});
  CHECK(at::equal(exact.scale, at::full({17, 1}, 0.5f)));
  CHECK(at::equal(exact.values, at::full({17, 4}, 4.0f)));
  const SearchedScales zero = search_scales(at::zeros({17, 4}), 4, Code::kE2M1, at::zeros({1, 17, 1}), {});
  CHECK(zero.values.abs().max().item<float>() == 0);
}

TEST_CASE("scale search kernels: the same bits for all instruction sets", "[linalg]") {
  const at::Tensor w = test::normal({37, 16}, 3, at::kFloat),
                   h = test::second_moment(16, 40, 4).to(at::kFloat);
  const auto view = [](const at::Tensor& x) {
    return View<const float>{x.const_data_ptr<float>(), x.stride(0), x.stride(1)};
  };
  for (Code code : test::kAllCodes) {
    const at::Tensor absmax = test::absmax_scale(w, {1, 16}, code).t();
    const at::Tensor tried = at::cat({absmax, absmax * 0.9, absmax * 0.7}).contiguous();
    std::vector<at::Tensor> results;
    for (const char* isa : {"baseline", "avx2", "avx512"}) {
      if (cpu::find_kernels(isa) == nullptr) continue;
      CAPTURE(isa, static_cast<int>(code));
      at::Tensor scale = at::empty({37, 1}), values = at::empty_like(w);
      cpu::find_ldlq_kernels(isa)->search(code, {.rows = 37,
                                                 .cols = 16,
                                                 .candidates = 3,
                                                 .weight = view(w),
                                                 .tried = view(tried),
                                                 .metric = view(h),
                                                 .scale = {scale.mutable_data_ptr<float>(), 1, 1},
                                                 .values = {values.mutable_data_ptr<float>(), 16, 1}});
      results.push_back(at::cat({scale, values}, 1));
      CHECK(test::same_bits(results[0], results.back()));
    }
  }
}

}  // namespace
}  // namespace ctq::linalg
