// Time of rounding one layer in one pass under recorded rows, as a matrix X^T X and in the space of the rows:
//   one_pass_bench [--rows 3072] [--columns 12288] [--samples 4096] [--leading R] [--sweeps 2] [--runs 3]
//                  [--threads 2]
// --leading: the latter with a part of low rank and the exact diagonal. The rows have a spectrum that falls
// as 1/i, as inputs have. Prints medians in seconds and the objective tr(E H E^T) over that of round to
// nearest.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "format/codec.h"
#include "linalg/cholesky.h"
#include "linalg/coordinate_descent.h"
#include "linalg/device.h"
#include "linalg/ldlq.h"
#include "linalg/objective.h"
#include "linalg/panels.h"
#include "linalg/sample_space.h"
#include "optimize/rounding.h"

namespace {

using namespace ctq;

constexpr double kDamping = 0.03;

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values.at(values.size() / 2);
}

/// [samples, columns] with singular values that fall as 1 / i.
at::Tensor made_rows(int64_t samples, int64_t columns) {
  const int64_t rank = std::min(samples, columns);
  const at::Tensor falling = at::arange(1, rank + 1, at::kFloat).reciprocal();
  const at::Tensor x = linalg::product(at::randn({samples, rank}) * falling, at::randn({rank, columns}));
  return (x + 0.02 * x.std() * at::randn({samples, columns})) / std::sqrt(static_cast<double>(samples));
}

struct Times {
  std::vector<double> moment, factor, recursion, sweeps;
  double objective = 0;
};

void print(const char* form, const Times& times) {
  const double all =
      median(times.moment) + median(times.factor) + median(times.recursion) + median(times.sweeps);
  fmt::print(
      "{:8} moment {:.2f}, factor {:.2f}, recursion {:.2f}, sweeps {:.2f}, together {:.2f} s; objective "
      "{:.5f}\n",
      form, median(times.moment), median(times.factor), median(times.recursion), median(times.sweeps), all,
      times.objective);
}

}  // namespace

int main(int argc, char** argv) {
  int64_t rows = 3072, columns = 12288, samples = 4096, leading = 0, sweeps = 2, runs = 3;
  int64_t threads = linalg::available_cores();
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    int64_t& value = name == "--rows"      ? rows
                     : name == "--columns" ? columns
                     : name == "--samples" ? samples
                     : name == "--leading" ? leading
                     : name == "--sweeps"  ? sweeps
                     : name == "--runs"    ? runs
                                           : threads;
    value = std::atoll(argv[i + 1]);
  }
  linalg::keep_freed_memory();
  linalg::set_threads(static_cast<int>(threads));
  at::manual_seed(0);
  const at::Tensor weight = at::randn({rows, columns}).mul_(0.02), x = made_rows(samples, columns);
  const format::Codec& codec = *format::find_codec("float8_e4m3fn", format::Granularity::kTensor);
  const optimize::Layer layer = optimize::make_layer(codec, weight, 0);
  const linalg::Code code = layer.grid->code();
  const linalg::Moment in_samples(at::zeros({columns}), x);
  const auto error_of = [&](const at::Tensor& values) {
    return linalg::objective_rows(values * layer.scale - weight, in_samples).sum().item<double>();
  };
  const double nearest = error_of(layer.nearest);

  Times plain, sampled;
  at::Tensor cost;
  for (int64_t run = 0; run < runs; ++run) {
    {
      linalg::Moment h, damped;
      plain.moment.push_back(seconds([&] { h = in_samples.matrix(); }));
      linalg::FeedbackFactor factor;
      plain.factor.push_back(seconds([&] {
        factor = linalg::damped_factor(h.matrix(), kDamping, linalg::ColumnOrder::kActOrder);
        damped = h.shifted(h.diagonal().mean() * kDamping);
      }));
      at::Tensor values;
      plain.recursion.push_back(
          seconds([&] { values = linalg::ldlq_round(weight, factor, layer.tiling, code, layer.scale); }));
      plain.sweeps.push_back(seconds([&] {
        values = linalg::coordinate_descent(values, weight, damped, layer.tiling, code, layer.scale, sweeps);
        linalg::objective_rows(values * layer.scale - weight, factor);
      }));
      plain.objective = error_of(values) / nearest;
    }
    linalg::SampleFactor factor;
    linalg::Moment damped;
    linalg::Moment part = in_samples;
    sampled.moment.push_back(seconds([&] {
      if (leading > 0) part = in_samples.leading(leading);
    }));
    sampled.factor.push_back(seconds([&] {
      factor = linalg::sample_factor(part, kDamping, linalg::ColumnOrder::kActOrder);
      damped = part.shifted(part.diagonal().mean() * kDamping);
    }));
    at::Tensor values, mapped;
    sampled.recursion.push_back(seconds([&] {
      values = linalg::ldlq_round(weight, factor, layer.tiling, code, layer.scale, nullptr,
                                  linalg::Recursion::kBlocks, &mapped);
    }));
    sampled.sweeps.push_back(seconds([&] {
      values = linalg::CoordinateDescent(damped).swept(values, weight, layer.tiling, code, layer.scale,
                                                       sweeps, &cost, mapped);
    }));
    sampled.objective = error_of(values) / nearest;
  }
  fmt::print("{} x {}, {} recorded rows, {} sweeps, {} threads, medians of {}\n", rows, columns, samples,
             sweeps, threads, runs);
  print("matrix", plain);
  print(leading > 0 ? "leading" : "samples", sampled);
}
