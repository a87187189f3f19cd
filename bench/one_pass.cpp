// Time of rounding one layer in one pass, beside the matrix arithmetic that nothing can do without:
//   one_pass_bench [--rows 4096] [--columns 4096] [--runs 5] [--threads 2]
// W^T W, a Cholesky factorization of it and one product W H by LibTorch are the floor. Prints medians in
// seconds.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "format/codec.h"
#include "linalg/cholesky.h"
#include "linalg/device.h"
#include "linalg/ldlq.h"
#include "optimize/optimizer.h"

namespace {

using namespace ctq;

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values.at(values.size() / 2);
}

}  // namespace

int main(int argc, char** argv) {
  int64_t rows = 4096, columns = 4096, runs = 5, threads = linalg::available_cores();
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    int64_t& value = name == "--rows"      ? rows
                     : name == "--columns" ? columns
                     : name == "--runs"    ? runs
                                           : threads;
    value = std::atoll(argv[i + 1]);
  }
  linalg::use_huge_pages();
  linalg::set_threads(static_cast<int>(threads));
  at::manual_seed(0);
  const at::Tensor weight = at::randn({rows, columns}).mul_(0.02);
  const format::Codec& codec = *format::find_codec("float8_e4m3fn", format::Granularity::kTensor);

  std::vector<double> syrk, cholesky, gemm, floors, factor, recursion, direct, swept;
  for (int64_t run = 0; run < runs; ++run) {
    at::Tensor h;
    syrk.push_back(seconds([&] { h = at::mm(weight.t(), weight); }));
    h.diagonal().add_(h.diagonal().mean() * 4);
    cholesky.push_back(seconds([&] { at::linalg_cholesky(h); }));
    gemm.push_back(seconds([&] { at::mm(weight, h); }));
    // A symmetric product is half a product; LibTorch has none.
    floors.push_back(syrk.back() / 2 + cholesky.back() + gemm.back());
    linalg::FeedbackFactor found;
    factor.push_back(seconds([&] { found = linalg::damped_factor(h, 0, linalg::ColumnOrder::kActOrder); }));
    const optimize::Layer layer = optimize::make_layer(codec, weight, 0);
    recursion.push_back(seconds(
        [&] { linalg::ldlq_round(layer.weight, found, layer.tiling, layer.grid->code(), layer.scale); }));
    optimize::Settings settings;
    settings.method = optimize::Method::kDirect;
    direct.push_back(seconds([&] { optimize::round_layer(layer, settings, std::nullopt); }));
    settings.direct_sweeps = 2;
    swept.push_back(seconds([&] { optimize::round_layer(layer, settings, std::nullopt); }));
  }
  fmt::print("{} x {}, {} threads, medians of {} in seconds\n", rows, columns, threads, runs);
  fmt::print("floor: half of W^T W {:.3f}, Cholesky {:.3f}, W H {:.3f}, together {:.3f}\n", median(syrk) / 2,
             median(cholesky), median(gemm), median(floors));
  fmt::print(
      "ours: factor {:.3f}, recursion {:.3f}; direct {:.3f} ({:.2f} floors), with 2 sweeps {:.3f} ({:.2f})\n",
      median(factor), median(recursion), median(direct), median(direct) / median(floors), median(swept),
      median(swept) / median(floors));
}
