// Hadamard transforms: the group-wise regular one (ConvRot) and the Walsh-Hadamard one.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace ctq::linalg {

/// Rotates every run of `group_size` columns: W -> W R, with R = blockdiag(H, .., H).
///
/// H is the Kronecker power of the regular matrix [[1,1,1,-1],[1,1,-1,1],[1,-1,1,1],[-1,1,1,1]], divided by
/// sqrt(group_size): symmetric and orthogonal, so rotating twice gives W back, and (X R)(W R)^T = X W^T. No
/// row or column is constant, unlike Sylvester's. Huang et al., "ConvRot", arXiv:2512.03673.
///
/// By butterflies; exact where the sums fit float32, as for small integers times a power of two.
///
/// weight      [out_features, in_features], any float type and device
/// group_size  a power of 4 that divides in_features
/// returns     same shape and device, float32, the same bits on all devices
/// throws      Error(kUsage) when group_size is no power of 4 from 4 on, or does not divide in_features
at::Tensor rotate_columns(const at::Tensor& weight, int64_t group_size);

/// 4, 16, 64 ..: the sizes of groups that rotate_columns() takes.
bool is_rotation_size(int64_t group_size);

/// Normalised Walsh-Hadamard transform along a dimension, in Sylvester's order: H_1 = 1, H_2n = [[H, H], [H,
/// -H]], divided by sqrt(n).
///
/// x        any shape, float type and device; x.size(dim) a power of two
/// returns  same shape and device, float32
/// throws   Error(kUsage) when the size is no power of two
at::Tensor walsh_hadamard(const at::Tensor& x, int64_t dim);

}  // namespace ctq::linalg
