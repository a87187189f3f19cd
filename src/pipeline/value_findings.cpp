#include "value_findings.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "bank.h"
#include "linalg/tiles.h"

namespace ctq::pipeline {
namespace {

constexpr float kLargestFloat = std::numeric_limits<float>::max();
constexpr float kUsuallyEnough = 1e-4f;  // every format holds a weight that reaches it

/// What a plain type holds.
struct CastLimits {
  safetensors::Dtype type;
  std::string_view name;
  float largest;
  float to_zero;  ///< and all below: half of the smallest, which is even
};
constexpr CastLimits kCastLimits[] = {
    {safetensors::Dtype::kBF16, "bfloat16", 0x1.FEp127f, 0x1p-134f},
    {safetensors::Dtype::kF16, "float16", 65504.0f, 0x1p-25f},
    {safetensors::Dtype::kF8E4M3, "float8_e4m3fn", 448.0f, 0x1p-10f},
    {safetensors::Dtype::kF8E5M2, "float8_e5m2", 57344.0f, 0x1p-17f},
};

/// How many values are summed up to one on the way to the codes, and back.
float summed(const format::Encoded& encoded) {
  if (encoded.sign_row.defined()) return static_cast<float>(encoded.codes.numel());
  return static_cast<float>(std::max<int64_t>(encoded.rotation_group, 1));
}

bool decodes_to_zero(const format::Encoded& encoded) {
  const int64_t rows = encoded.codes.size(0);
  constexpr int64_t kMostRows = 1024;
  int64_t count = std::max<int64_t>(encoded.block_size, 1);
  // A weight with values is told by its first rows.
  for (int64_t row = 0; row < rows; row += count) {
    if (row > 0 && count < kMostRows) count *= 2;
    const format::Encoded some = format::rows_of(encoded, row, std::min(count, rows - row));
    if (format::decode_codes(some).any().item<bool>()) return false;
  }
  return true;
}

/// About the largest magnitude that the codes stand for.
float reach_of(const format::Encoded& encoded) {
  return encoded.scales.max().item<float>() * encoded.codec->grid().max_abs();
}

bool decodes_to_finite(const format::Encoded& encoded, float reach) {
  if (reach <= kLargestFloat / 4 / summed(encoded)) return true;
  return format::decode(encoded).isfinite().all().item<bool>();
}

/// Whether zeros were nearer to the weight: scales below the format's smallest are raised to that.
bool is_worse_than_zeros(const at::Tensor& weight, const format::Encoded& encoded, float reach) {
  if (reach >= kUsuallyEnough) return false;
  const at::Tensor original = weight.to(at::kDouble);
  const at::Tensor error = format::decode(encoded).to(at::kDouble) - original;
  return error.square().sum().item<double>() > original.square().sum().item<double>();
}

/// encoding_fault() of a weight that is no bank, or of one expert.
std::string matrix_fault(const at::Tensor& weight, const format::Encoded& encoded) {
  if (weight.numel() == 0) return "";
  const float reach = reach_of(encoded);
  const bool zeros = decodes_to_zero(encoded);
  if (zeros || is_worse_than_zeros(weight, encoded, reach)) {
    const float amax = linalg::extent(weight).amax;
    if (amax > 0)
      return fmt::format("values of at most {:.6g}, which {} in {}", amax,
                         zeros ? "are all zeros" : "are lost", encoded.codec->label());
  }
  if (decodes_to_finite(encoded, reach)) return "";
  return fmt::format("values up to {:.6g}, which overflow float32 when {} is decoded",
                     linalg::extent(weight).amax, encoded.codec->label());
}

/// The same of the codes that rounding to nearest would give.
std::string nearest_fault(const plan::Target& target, const at::Tensor& weight, float amax,
                          uint64_t sign_seed) {
  const bool usual = amax >= kUsuallyEnough &&
                     amax < kLargestFloat / 4 / static_cast<float>(std::max<int64_t>(weight.numel(), 1));
  if (usual || weight.numel() == 0) return "";
  const auto encoded =
      format::encode_nearest(*target.codec, weight, target.block_size, target.rotation_group, sign_seed);
  return encoded ? matrix_fault(weight, *encoded) : no_encoding_fault(weight);
}

}  // namespace

std::string cast_finding(float amax, safetensors::Dtype type) {
  const auto* limits = std::ranges::find(kCastLimits, type, &CastLimits::type);
  if (limits == std::end(kCastLimits)) return "";
  if (amax > limits->largest)
    return fmt::format("largest magnitude {:.6g} is beyond {}'s {:.6g}", amax, limits->name, limits->largest);
  if (amax > 0 && amax <= limits->to_zero)
    return fmt::format("values of at most {:.6g}, which are all zeros in {}", amax, limits->name);
  return "";
}

std::string encoding_fault(const at::Tensor& weight, std::span<const format::Encoded> encoded) {
  const std::vector<at::Tensor> matrices = matrices_of(weight);
  for (size_t i = 0; i < matrices.size(); ++i) {
    if (std::string fault = matrix_fault(matrices[i], encoded[i]); !fault.empty()) return fault;
  }
  return "";
}

std::string no_encoding_fault(const at::Tensor& weight) {
  const linalg::Extent extent = linalg::extent(weight);
  if (!extent.finite())
    return fmt::format("{} NaN and {} infinite values", extent.nan_count, extent.inf_count);
  return fmt::format("values up to {:.6g}, whose sums overflow float32 when the weight is rotated",
                     extent.amax);
}

std::string value_finding(const plan::TensorPlan& tensor, uint64_t sign_seed) {
  const at::Tensor weight = model::load(*tensor.source);
  const linalg::Extent extent = linalg::extent(weight);
  if (!extent.finite()) return no_encoding_fault(weight);
  if (tensor.decision == plan::Decision::kCast) return cast_finding(extent.amax, tensor.target.plain);
  if (tensor.source->info->shape.size() == 2)
    return nearest_fault(tensor.target, weight, extent.amax, sign_seed);
  for (const at::Tensor& expert : matrices_of(weight)) {
    std::string fault = nearest_fault(tensor.target, expert, linalg::extent(expert).amax, sign_seed);
    if (!fault.empty()) return fault;
  }
  return "";
}

}  // namespace ctq::pipeline
