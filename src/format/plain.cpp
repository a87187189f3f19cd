// Formats that store codes and scales as they are.
#include "packing.h"

namespace ctq::format {
namespace {

std::vector<StoredTensor> stored(const Codec& codec, int64_t out_features, int64_t in_features,
                                 int64_t block_size) {
  return {{"weight", linalg::code_dtype(codec.grid().code()), {out_features, in_features}},
          {"weight_scale", at::kFloat, scale_shape(codec, out_features, in_features, block_size)}};
}

std::vector<at::Tensor> to_file(const Encoded& encoded) {
  return {encoded.codes.contiguous(), encoded.scales.contiguous()};
}

void from_file(const std::vector<at::Tensor>& tensors, int64_t, int64_t, Encoded& encoded) {
  encoded.codes = tensors[0];
  encoded.scales = tensors[1];
}

}  // namespace

const Packing kPlain = {stored, to_file, from_file};

}  // namespace ctq::format
