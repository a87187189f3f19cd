#include "format/quip.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "formats.h"
#include "linalg/hadamard.h"
#include "packing.h"
#include "scaling.h"

namespace ctq::format {
namespace {

std::vector<StoredTensor> stored(const Codec&, int64_t out_features, int64_t in_features, int64_t) {
  return {{"weight", at::kChar, {out_features, in_features}},
          {"weight_scale", at::kFloat, {out_features, 1}},
          {"sign_row", at::kFloat, {out_features}},
          {"sign_col", at::kFloat, {in_features}},
          {"hadamard_quip", at::kChar, {}},
          {"hadamard_size_out", at::kInt, {}},
          {"hadamard_size_in", at::kInt, {}}};
}

std::vector<at::Tensor> to_file(const Encoded& encoded) {
  const at::Tensor& codes = encoded.codes;
  const auto number = [&](int64_t value, at::ScalarType type) {
    return at::full({}, value, codes.options().dtype(type));
  };
  return {codes.contiguous(),
          encoded.scales.contiguous(),
          encoded.sign_row,
          encoded.sign_col,
          number(1, at::kChar),
          number(codes.size(0), at::kInt),
          number(codes.size(1), at::kInt)};
}

void from_file(const std::vector<at::Tensor>& tensors, int64_t, int64_t, Encoded& encoded) {
  encoded.codes = tensors[0];
  encoded.scales = tensors[1];
  encoded.sign_row = tensors[2];
  encoded.sign_col = tensors[3];
}

at::Tensor both_sides(const at::Tensor& matrix) {
  return linalg::walsh_hadamard(linalg::walsh_hadamard(matrix, 0), 1);
}

/// amax / 127, at least Wan-INT8's floor.
linalg::TileScale absmax(float amax, float) { return same(std::max(amax / kMaxInt8, 1e-12f)); }

constexpr Packing kPacking = {stored, to_file, from_file};

}  // namespace

constinit const Codec kQuipHadamard = {.format = "int8_quip_hadamard",
                                       .type = "int8",
                                       .granularity = Granularity::kRow,
                                       .scale_shape = ScaleShape::kColumn,
                                       .grid = int8_grid,
                                       .divide = true,
                                       .absmax = absmax,
                                       .packing = &kPacking,
                                       .incoherent = true,
                                       .target = false};

at::Tensor random_signs(int64_t size, uint64_t seed, at::Device device) {
  // LibTorch's generator takes 32 bits of its seed.
  const at::Generator random = at::make_generator<at::CPUGeneratorImpl>(seed & 0xFFFFFFFF);
  return at::randint(0, 2, {size}, random, at::TensorOptions(at::kFloat)).mul_(2).sub_(1).to(device);
}

at::Tensor incoherent(const at::Tensor& weight, const at::Tensor& sign_row, const at::Tensor& sign_col) {
  return both_sides(weight.to(at::kFloat) * sign_col * sign_row.unsqueeze(1));
}

at::Tensor coherent(const at::Tensor& transformed, const at::Tensor& sign_row, const at::Tensor& sign_col) {
  return both_sides(transformed).mul_(sign_col).mul_(sign_row.unsqueeze(1));
}

}  // namespace ctq::format
