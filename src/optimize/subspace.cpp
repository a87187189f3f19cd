#include "optimize/subspace.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "base/log.h"

namespace ctq::optimize {

int64_t subspace_rank(int64_t out_features, int64_t in_features, const SubspaceSettings& settings) {
  const int64_t most = std::min(out_features, in_features);
  const auto share = static_cast<int64_t>(settings.top_p * static_cast<double>(most));
  return std::min({settings.max_k, std::max(settings.min_k, share), most});
}

linalg::LowRank leading_vectors(const at::Tensor& weight, const SubspaceSettings& settings) {
  const int64_t k = subspace_rank(weight.size(0), weight.size(1), settings);
  spdlog::debug("[{}, {}]: {} singular directions", weight.size(0), weight.size(1), k);
  if (settings.full_svd) return linalg::thin_svd(weight, k);
  // A model's weights have flat spectra. With the usual 10 extra columns the found space differs enough from
  // the true one that a sixth of the gain is lost in the latter; with k it is found.
  const int64_t oversample = std::max<int64_t>(10, k);
  return linalg::randomized_svd(weight, k, at::make_generator<at::CPUGeneratorImpl>(settings.seed),
                                oversample);
}

double subspace_rel(const linalg::LowRank& leading, const at::Tensor& weight, const at::Tensor& error) {
  const double whole = weight.norm().item<double>();
  if (!(whole > 0)) return 0;
  return leading.u.t().mm(error.mm(leading.v)).norm().item<double>() / whole;
}

}  // namespace ctq::optimize
