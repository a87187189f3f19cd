#include "lora/delta.h"

#include <limits>
#include <numeric>
#include <vector>

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/text.h"

namespace ctq::lora {
namespace {

using Entry = model::Checkpoint::Entry;

at::Tensor finite_values(const Entry& entry) {
  const at::Tensor values = model::load(entry).to(at::kFloat);
  if (!values.isfinite().all().item<bool>())
    fail(ErrorCode::kBadInput, "{}: tensor '{}' holds NaN or infinite values", entry.file->path(),
         printable(entry.name()));
  return values;
}

at::Tensor finite_values(const AdapterLayer& layer, Part part) { return finite_values(*layer.find(part)); }

/// sum over i, j of core[i, j, :] left[p, i] right[j, q] -> [p, q * kernel].
/// left [p, i], core [i, j, kernel...], right [j, q]
at::Tensor tucker(const at::Tensor& left, const at::Tensor& core, const at::Tensor& right) {
  const at::Tensor flat = core.flatten(2);
  return at::einsum("pi,ijk,jq->pqk", {left, flat, right}).flatten(1);
}

at::Tensor low_rank(const AdapterLayer& layer) {
  const at::Tensor up = finite_values(layer, Part::kUp).flatten(1),
                   down = finite_values(layer, Part::kDown).flatten(1);
  if (layer.find(Part::kMid)) return tucker(up, finite_values(layer, Part::kMid), down);
  return up.mm(down);
}

/// Two factors, or three.
at::Tensor product(const AdapterLayer& layer, Part a, Part b, Part core) {
  const at::Tensor left = finite_values(layer, a), right = finite_values(layer, b).flatten(1);
  if (layer.find(core)) return tucker(left.flatten(1).t(), finite_values(layer, core), right);
  return left.flatten(1).mm(right);
}

at::Tensor hadamard(const AdapterLayer& layer) {
  return product(layer, Part::kHadaW1A, Part::kHadaW1B, Part::kHadaT1)
      .mul_(product(layer, Part::kHadaW2A, Part::kHadaW2B, Part::kHadaT2));
}

at::Tensor kronecker(const AdapterLayer& layer) {
  // The kernel of W2 is the innermost dimension of the result, so its flat form gives the same elements.
  const at::Tensor first = layer.find(Part::kLokrW1)
                               ? finite_values(layer, Part::kLokrW1).flatten(1)
                               : finite_values(layer, Part::kLokrW1A)
                                     .flatten(1)
                                     .mm(finite_values(layer, Part::kLokrW1B).flatten(1));
  const at::Tensor second = layer.find(Part::kLokrW2)
                                ? finite_values(layer, Part::kLokrW2).flatten(1)
                                : product(layer, Part::kLokrW2A, Part::kLokrW2B, Part::kLokrT2);
  return at::kron(first, second);
}

const Entry* magnitudes(const AdapterLayer& layer) {
  const Entry* peft = layer.find(Part::kMagnitude);
  return peft ? peft : layer.find(Part::kDoraScale);
}

/// The dimension of the weight that magnitudes have one element for each of.
int64_t magnitude_dimension(const AdapterLayer& layer, const Entry& entry, const at::Tensor& weight) {
  const std::vector<int64_t>& shape = entry.info->shape;
  const int64_t count = entry.info->numel();
  const bool of_inputs =
      !layer.find(Part::kMagnitude) && weight.dim() > 1 && shape.size() > 1 && shape[0] == 1;
  if (of_inputs && count == weight.size(1) && shape[1] == count) return 1;
  if (count == weight.size(0)) return 0;
  fail(ErrorCode::kBadInput, "{}: tensor '{}' has shape {}, but the layer's weight is {}", entry.file->path(),
       printable(entry.name()), shape_text(shape), shape_text(weight.sizes()));
}

/// The weight brought to the given norms.
at::Tensor decomposed(const at::Tensor& weight, const AdapterLayer& layer, const Entry& entry) {
  const int64_t kept = magnitude_dimension(layer, entry, weight);
  std::vector<int64_t> others, view(static_cast<size_t>(weight.dim()), 1);
  for (int64_t i = 0; i < weight.dim(); ++i) {
    if (i != kept) others.push_back(i);
  }
  view[static_cast<size_t>(kept)] = -1;
  const at::Tensor norm = at::linalg_vector_norm(weight, 2, others, /*keepdim=*/true)
                              .clamp_min(std::numeric_limits<float>::epsilon());  // a row of zeros stays one
  return weight * (finite_values(entry).reshape(view) / norm);
}

}  // namespace

at::Tensor weight_delta(const AdapterLayer& layer) {
  switch (layer.kind) {
    case Kind::kLowRank: return low_rank(layer).mul_(layer.factor);
    case Kind::kHadamard: return hadamard(layer).mul_(layer.factor);
    case Kind::kKronecker: return kronecker(layer).mul_(layer.factor);
    case Kind::kDifference: return finite_values(layer, Part::kDiff).reshape({layer.rows, layer.per_row});
    case Kind::kNone: break;
  }
  TORCH_INTERNAL_ASSERT(false, "a layer without a change of its weight");
}

at::Tensor merged_weight(const at::Tensor& weight, const AdapterLayer& layer, double strength) {
  const Entry* norms = magnitudes(layer);
  if (layer.kind == Kind::kLowRank && !layer.find(Part::kMid) && !norms) {
    const at::Tensor rows = weight.reshape({layer.rows, layer.per_row});
    const at::Tensor up = finite_values(layer, Part::kUp), down = finite_values(layer, Part::kDown);
    return at::addmm(rows, up.flatten(1), down.flatten(1), /*beta=*/1, strength * layer.factor)
        .reshape(weight.sizes());
  }
  const at::Tensor delta = weight_delta(layer).reshape(weight.sizes());
  if (!norms) return at::add(weight, delta, strength);
  return at::add(weight, decomposed(weight + delta, layer, *norms) - weight, strength);
}

at::Tensor merged_bias(const at::Tensor& bias, const AdapterLayer& layer, double strength) {
  at::Tensor merged = bias;
  if (layer.find(Part::kDiffBias))
    merged = at::add(merged, finite_values(layer, Part::kDiffBias).reshape(bias.sizes()), strength);
  if (layer.find(Part::kUpBias))
    merged =
        at::add(merged, finite_values(layer, Part::kUpBias).reshape(bias.sizes()), strength * layer.factor);
  return merged;
}

}  // namespace ctq::lora
