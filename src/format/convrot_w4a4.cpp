// convrot_w4a4: integers from -7 to 7 of the rotated weight, a scale per row.
#include <algorithm>

#include <ATen/ATen.h>

#include "formats.h"
#include "packing.h"
#include "scaling.h"

namespace ctq::format {
namespace {

constexpr bool kEvenIsHigh = false;  // of the two columns in a byte

std::vector<StoredTensor> stored(const Codec&, int64_t out_features, int64_t in_features, int64_t) {
  return {{"weight", at::kChar, {out_features, in_features / 2}},
          {"weight_scale", at::kFloat, {out_features}}};
}

std::vector<at::Tensor> to_file(const Encoded& encoded) {
  return {linalg::pack_nibbles(encoded.codes.contiguous(), kEvenIsHigh), encoded.scales.contiguous()};
}

void from_file(const std::vector<at::Tensor>& tensors, int64_t, int64_t, Encoded& encoded) {
  encoded.codes = linalg::unpack_nibbles(tensors[0], kEvenIsHigh);
  encoded.scales = tensors[1];
}

/// max(amax, 1e-10) / 7: kitchen's floor.
linalg::TileScale absmax(float amax, float) { return same(std::max(amax, 1e-10f) / 7); }

constexpr Packing kPacking = {stored, to_file, from_file};

}  // namespace

constinit const Codec kConvrotW4a4 = {.format = "convrot_w4a4",
                                      .type = "w4a4",
                                      .granularity = Granularity::kRow,
                                      .scale_shape = ScaleShape::kVector,
                                      .grid = int4_grid,
                                      .divide = true,
                                      .absmax = absmax,
                                      .packing = &kPacking,
                                      .rotation = Rotation::kAlways,
                                      .width_multiple = 64,
                                      .reads_input_scale = false};

}  // namespace ctq::format
